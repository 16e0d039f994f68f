import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { root, temporaryFolder } from "../support/index.js";
import { commandLine } from "../support/process.js";

describe("torchclip models", () => {
  const folder = temporaryFolder();
  const cli = commandLine(folder);
  const models = (...args: string[]) => cli("models", ...args);

  it("filters by words, with parameters, what they take on disk, image size and accuracies in columns", () => {
    const { stdout, status } = models("b/32");
    assert.equal(status, 0);
    const [head, line, ...rest] = stdout.trimEnd().split("\n");
    assert.deepEqual(head.trim().split(/ {2,}/), [
      "name",
      "parameters",
      "disk",
      "images",
      "ImageNet",
      "Rendered SST2",
      "licence",
    ]);
    assert.match(line, /ViT-B\/32 +151 M +354 MB +224 px +63\.3 +58\.[67] +MIT/);
    assert.equal(rest.length, 0);
  });

  it("--json: the size by the parameters, and of what is installed the artifact's own", () => {
    interface Row {
      name: string;
      parameters?: number;
      artifactBytes?: number;
      size?: { download: number; exact: boolean; memory: { fp32: number; bf16: number } };
    }
    const rows = JSON.parse(models("--json").stdout) as Row[];
    const row = (name: string) => rows.find((r) => r.name === name)!;
    assert.deepEqual([row("ViT-L/14").size!.download, row("ViT-L/14").size!.exact], [932_768_134, true]);
    const hub = { download: 604e6, exact: false, memory: { fp32: 804e6, bf16: 502e6 } };
    assert.deepEqual(row("ViT-B-32/laion2b_s34b_b79k").size, hub);
    assert.match(models("ViT-B-32/laion2b_s34b").stdout, / +~604 MB +224 px/);
    assert.equal(row("tiny").artifactBytes, statSync(join(root, "models/tiny.pt")).size);
    assert.match(models("tiny").stdout, /\* tiny +4\.7 M +9\.5 MB/);
    for (const r of rows)
      assert.equal(r.size === undefined, r.parameters === undefined || r.name === "tiny", r.name);
  });

  it("sorts by accuracy, the unpublished last; no match is an error", () => {
    const rows = JSON.parse(models("siglip", "--sort", "imagenet", "--json").stdout) as {
      name: string;
      published?: { imagenet: number };
    }[];
    const accuracies = rows.map((r) => r.published?.imagenet ?? -1);
    assert.deepEqual(
      accuracies,
      [...accuracies].sort((a, b) => b - a),
    );
    assert.ok(rows.length > 10 && rows.every((r) => /siglip/i.test(r.name)));
    const none = models("no-such-model");
    assert.equal(none.status, 1);
    assert.match(none.stderr, /E_MODEL_NOT_FOUND: no known model holds no-such-model/);
  });
});
