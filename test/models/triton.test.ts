import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { exportTriton } from "../../lib/index.js";
import { resolveModel } from "../../lib/models/store/resolve.js";
import { families, writeFamilyFolder } from "../support/families.js";
import { rejectsWith, root, temporaryFolder, tinyModel } from "../support/index.js";
import { commandLine } from "../support/process.js";

/** Native suite that loads the towers of an artifact by libtorch, and compares. */
const PROGRAM = join(root, "build/native/test/torch/torch_tower_module_test");

describe("torchclip export triton", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  const cli = commandLine(join(folder, "cache"));

  it("a repository of both towers, with their shapes and the batching that was asked for", () => {
    const repository = join(folder, "repository");
    const options = ["--name", "small", "--max-batch-size", "16", "--max-delay", "500", "--device", "cpu"];
    const run = cli("export", "triton", repository, "-m", "tiny", ...options);
    assert.equal(run.status, 0, run.stderr);
    assert.deepEqual(readdirSync(repository).sort(), ["small_image", "small_text"]);
    for (const name of ["small_image", "small_text"])
      assert.deepEqual(readdirSync(join(repository, name), { recursive: true }).sort(), [
        "1",
        "1/model.pt",
        "config.pbtxt",
      ]);
    const [image, text] = ["image", "text"].map((tower) =>
      readFileSync(join(repository, `small_${tower}`, "config.pbtxt"), "utf8"),
    );
    assert.match(image, /name: "small_image"\nbackend: "pytorch"\nmax_batch_size: 16\n/);
    assert.match(image, /name: "INPUT__0"\n {4}data_type: TYPE_UINT8\n {4}dims: \[ 224, 224, 3 \]/);
    assert.match(text, /name: "INPUT__0"\n {4}data_type: TYPE_INT64\n {4}dims: \[ 32 \]/);
    for (const config of [image, text]) {
      assert.match(config, /name: "OUTPUT__0"\n {4}data_type: TYPE_FP32\n {4}dims: \[ 192 \]/);
      assert.match(config, /max_queue_delay_microseconds: 500\n[^]*kind: KIND_CPU/);
    }
    const again = cli("export", "triton", repository, "-m", "tiny", "--name", "small");
    assert.equal(again.status, 2);
    assert.match(again.stderr, /E_ARGUMENT: .*small_image exists/);
  });

  it("the towers of each architecture family give the same embeddings in libtorch", async function () {
    this.timeout(600_000); // kernels without vector instructions are slow
    if (!existsSync(PROGRAM)) {
      console.log("      skipped: the native tests are not built");
      this.skip();
    }
    for (const family of families.cases) {
      const weights = writeFamilyFolder(family, join(folder, family.name.replace(/\W+/g, "-")), true);
      const run = spawnSync(PROGRAM, [await resolveModel(weights, { cacheDir: folder })], {
        encoding: "utf8",
      });
      assert.equal(run.status, 0, `${family.name}: ${run.stdout}${run.stderr}`);
    }
  });

  it("wrong options are told apart, and nothing is written", async () => {
    const target = join(folder, "nothing");
    const wrong = [
      { name: "a/b" },
      { maxBatchSize: 0 },
      { maxDelay: 0.5 },
      { precision: "int8" },
      { device: "tpu" },
    ];
    for (const options of wrong)
      await rejectsWith("E_ARGUMENT", () => exportTriton(tinyModel, target, options as object));
    await rejectsWith("E_MODEL_NOT_FOUND", () => exportTriton(join(folder, "none.pt"), target));
    assert.ok(!existsSync(target));
  });
});
