import { strict as assert } from "node:assert";
import { comparison, line, type Measured } from "../../lib/cli/bench-table.js";

const MISSING = { device: "cuda:1", precision: "–", batch: 0 as const, note: "there is no such GPU" };

function row(device: string, precision: string, batch: number, imagesPerSecond: number): Measured {
  return {
    device,
    precision,
    batch,
    imagesPerSecond,
    textsPerSecond: imagesPerSecond * 4,
    runner: `fast ${precision}`,
    latencyMs: { p50: 1, p99: 2 },
    memoryMb: 100,
    eventLoopP99Ms: 0.5,
  };
}

describe("torchclip bench: rows of several devices", () => {
  const onCpu = [row("cpu", "fp32", 1, 10), row("cpu", "fp32", 32, 20), row("cpu", "bf16", 32, 50)];

  it("are compared with the first device, in the same precision and batch", () => {
    const compared = comparison(row("cuda:0", "bf16", 32, 5000), [MISSING, ...onCpu]);
    assert.deepEqual(compared, { device: "cpu", precision: "bf16", images: 100, texts: 100 });
  });

  it("are compared with fp32 where the first device has no such precision", () => {
    const compared = comparison(row("cuda:0", "fp8", 32, 8000), onCpu);
    assert.deepEqual(compared, { device: "cpu", precision: "fp32", images: 400, texts: 400 });
  });

  it("are not compared with themselves, nor across batches, nor with a device that is not there", () => {
    assert.equal(comparison(row("cpu", "int8", 32, 60), onCpu), undefined);
    assert.equal(comparison(row("cuda:0", "bf16", 256, 9000), onCpu), undefined);
    assert.equal(comparison(row("cuda:0", "bf16", 32, 5000), [MISSING]), undefined);
  });

  it("say it in their line", () => {
    const fast = row("cuda:0", "fp8", 32, 8000);
    assert.match(
      line({ ...fast, compared: comparison(fast, onCpu) }),
      /images 400\.0 × and texts 400\.0 × cpu fp32 {2}\[fast fp8\]$/,
    );
    assert.doesNotMatch(line({ ...onCpu[0], compared: comparison(onCpu[0], []) }), /×/);
  });
});
