import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { NativeEngine, NativeInfo } from "../lib/addon.js";
import { openOnGpu } from "../lib/clip/gpu-precision.js";
import { TorchclipError } from "../lib/errors.js";
import { rejectsWith, temporaryFolder } from "./support/index.js";

type Computed = NativeInfo["precision"];

/** How a model behaves in a precision: its cosine to fp32, and the seconds of any batch. */
type Behaviour = Partial<Record<Computed, { cosine: number; seconds: number }>>;

const DIM = 2;

/** A GPU that has the precisions of `behaviour`; `opened` lists what was loaded, `live` counts open engines. */
class FakeGpu {
  readonly opened: Computed[] = [];
  live = 0;

  constructor(
    private readonly behaviour: Behaviour,
    private readonly name = "NVIDIA H200",
  ) {}

  readonly open = async (precision: Computed): Promise<{ engine: NativeEngine; info: NativeInfo }> => {
    const found = this.behaviour[precision];
    if (!found) throw new TorchclipError("E_PRECISION", `no ${precision}`);
    this.opened.push(precision);
    this.live++;
    const fill = (out: Float32Array) => {
      const row = [found.cosine, Math.sqrt(1 - found.cosine ** 2)];
      for (let i = 0; i < out.length; i++) out[i] = row[i % DIM];
    };
    const engine = {
      encodePixels: (_: unknown, __: number, ___: number, out: Float32Array) => {
        fill(out);
        return Promise.resolve(found.seconds);
      },
      encodeTokens: (_: unknown, __: number, ___: number, out: Float32Array) => {
        fill(out);
        return Promise.resolve(found.seconds);
      },
      close: () => {
        this.live--;
        return Promise.resolve();
      },
    } as unknown as NativeEngine;
    const runner = `fast ${precision} (${this.name})`;
    const info = { imageSize: 4, contextLength: 8, vocabSize: 20, embedDim: DIM, precision };
    return Promise.resolve({
      engine,
      info: { ...info, imageRunner: runner, textRunner: runner } as unknown as NativeInfo,
    });
  };

  choose(cacheDir: string, weights = "weights") {
    return openOnGpu({ open: this.open, openBoth: this.open }, weights, "cuda", cacheDir);
  }
}

const FP32 = { cosine: 1, seconds: 3 };
const FP16 = { cosine: 0.99999, seconds: 1 };

describe("precision auto on a GPU", () => {
  const folder = temporaryFolder();
  const cache = () => join(folder, "cache");
  beforeEach(() => rmSync(cache(), { recursive: true, force: true }));

  const chosen = async (fp8: { cosine: number; seconds: number }) => {
    const gpu = new FakeGpu({ fp32: FP32, fp16: FP16, fp8 });
    const { info, choice } = await gpu.choose(cache());
    assert.equal(gpu.live, 1); // what was measured is closed
    assert.equal(choice?.chosen, info.precision);
    return info.precision;
  };

  it("fp8 where its cosine to fp32 is at least 0.9995 and it is 5 % faster than fp16", async () => {
    assert.equal(await chosen({ cosine: 0.9996, seconds: 0.6 }), "fp8");
  });

  it("fp16 where fp8's cosine is less, however fast it is", async () => {
    assert.equal(await chosen({ cosine: 0.9994, seconds: 0.1 }), "fp16");
  });

  it("fp16 where fp8 is not 5 % faster", async () => {
    assert.equal(await chosen({ cosine: 0.9999, seconds: 0.97 }), "fp16");
  });

  it("fp16, unmeasured, where the GPU or the model has no fp8", async () => {
    const gpu = new FakeGpu({ fp32: FP32, fp16: FP16 });
    const { info, choice } = await gpu.choose(cache());
    assert.equal(info.precision, "fp16");
    assert.equal(choice, undefined);
    assert.deepEqual(gpu.opened, ["fp16"]);
  });

  it("measured once, with what was measured, and remembered for this model and this GPU", async () => {
    const behaviour = { fp32: FP32, fp16: FP16, fp8: { cosine: 0.9996, seconds: 0.6 } };
    const gpu = new FakeGpu(behaviour);
    const { choice } = await gpu.choose(cache());
    assert.deepEqual(
      choice?.measured.map(({ precision, seconds }) => ({ precision, seconds })),
      [
        { precision: "fp32", seconds: 3 },
        { precision: "fp16", seconds: 1 },
        { precision: "fp8", seconds: 0.6 },
      ],
    );
    assert.equal(choice.gpu, "NVIDIA H200");
    assert.ok(Math.abs(choice.measured[2].cosine - 0.9996) < 1e-6);

    const again = new FakeGpu(behaviour);
    assert.deepEqual((await again.choose(cache())).choice, choice);
    assert.deepEqual(again.opened, ["fp8"]);
    const other = new FakeGpu(behaviour);
    await other.choose(cache(), "other weights");
    assert.deepEqual(other.opened, ["fp8", "fp32", "fp16", "fp8"]);
  });

  it("measured again on another GPU, also one without fp8", async () => {
    await new FakeGpu({ fp32: FP32, fp16: FP16, fp8: { cosine: 0.9996, seconds: 0.6 } }).choose(cache());
    const faster = new FakeGpu(
      { fp32: FP32, fp16: FP16, fp8: { cosine: 0.9996, seconds: 0.99 } },
      "NVIDIA L4",
    );
    assert.equal((await faster.choose(cache())).info.precision, "fp16");
    assert.equal(faster.live, 1);
    await new FakeGpu({ fp32: FP32, fp16: FP16, fp8: { cosine: 0.9996, seconds: 0.6 } }).choose(cache());
    const older = new FakeGpu({ fp32: FP32, fp16: FP16 }, "NVIDIA A100");
    assert.equal((await older.choose(cache())).info.precision, "fp16");
  });

  it("fp16 where there is no room to measure; another error is thrown; no engine stays open", async () => {
    const gpu = new FakeGpu({ fp16: FP16, fp8: { cosine: 1, seconds: 1 } });
    const failing = (code: "E_OUT_OF_MEMORY" | "E_INTERNAL") => (precision: Computed) =>
      precision === "fp32" ? Promise.reject(new TorchclipError(code, "full")) : gpu.open(precision);
    const choose = (code: "E_OUT_OF_MEMORY" | "E_INTERNAL") =>
      openOnGpu({ open: gpu.open, openBoth: failing(code) }, "weights", "cuda", cache());
    const { info, choice, engine } = await choose("E_OUT_OF_MEMORY");
    assert.deepEqual([info.precision, choice], ["fp16", undefined]);
    await engine.close();
    await rejectsWith("E_INTERNAL", () => choose("E_INTERNAL"));
    assert.equal(gpu.live, 0);
  });
});
