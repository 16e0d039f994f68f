import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root, temporaryFolder } from "../support/index.js";

describe("torchclip models", () => {
  const folder = temporaryFolder();
  const models = (...args: string[]) =>
    spawnSync(process.execPath, ["--import", "tsx", join(root, "lib/cli/main.ts"), "models", ...args], {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, TORCHCLIP_CACHE: folder },
    });

  it("filters by words, with parameters, image size and accuracies in columns", () => {
    const { stdout, status } = models("b/32");
    assert.equal(status, 0);
    const [head, line, ...rest] = stdout.trimEnd().split("\n");
    assert.deepEqual(head.trim().split(/ {2,}/), ["name", "parameters", "images", "ImageNet", "Rendered SST2", "licence"]);
    assert.match(line, /ViT-B\/32 +151 M +224 px +63\.3 +58\.[67] +MIT/);
    assert.equal(rest.length, 0);
  });

  it("sorts by accuracy, the unpublished last; no match is an error", () => {
    const rows = JSON.parse(models("siglip", "--sort", "imagenet", "--json").stdout) as { name: string; published?: { imagenet: number } }[];
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
