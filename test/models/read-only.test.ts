import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "../../lib/index.js";
import { writeFileWhole } from "../../lib/util/files.js";
import { errorOf, rejectsWith, temporaryFolder } from "../support/index.js";
import { tinySafetensors, tinyTokenizer } from "../support/tiny.js";

describe("a cache that cannot be written", () => {
  after(() => void spawnSync("umount", [cacheDir])); // before the folder is removed
  const folder = temporaryFolder();
  const cacheDir = join(folder, "cache");
  const weights = join(folder, "weights");
  const mount = (...args: string[]) => spawnSync("mount", args).status === 0;
  const options = { cacheDir, device: "cpu", threads: 1 } as const;

  before(async function () {
    mkdirSync(weights);
    writeFileSync(join(weights, "model.safetensors"), await tinySafetensors());
    writeFileSync(join(weights, "tokenizer.json"), await tinyTokenizer());
    await (await load(weights, options)).close();
    // Permissions do not stop root, a read-only mount does; others cannot mount.
    if (!mount("--bind", cacheDir, cacheDir) || !mount("-o", "remount,ro,bind", cacheDir)) {
      console.log("      skipped: a read-only mount needs Linux and root");
      this.skip();
    }
  });

  it("loads what is in it, also when the weights have another path", async () => {
    assert.match(
      (await errorOf(() => writeFileWhole(join(cacheDir, "x"), "x"))).message,
      /the file system is read-only \(EROFS\)/,
    );
    const other = join(folder, "other");
    cpSync(weights, other, { recursive: true });
    await (await load(other, options)).close();
  });

  it("says E_WRITE where something has to be put into it", async () => {
    const other = join(folder, "named");
    cpSync(weights, other, { recursive: true });
    writeFileSync(
      join(other, "config.json"),
      JSON.stringify({
        vision_config: { hidden_act: "quick_gelu", num_attention_heads: 4 },
        text_config: { num_attention_heads: 2 },
      }),
    );
    const error = await rejectsWith("E_WRITE", () => load(other, options));
    assert.match(error.message, /EROFS/);
  });
});
