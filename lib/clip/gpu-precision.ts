import type { NativeInfo } from "../addon.js";
import { toTorchclipError } from "../errors.js";
import {
  check,
  choiceFile,
  fastestOf,
  ifPossible,
  imageSeconds,
  leastCosine,
  readChoice,
  writeChoice,
  type MeasuredPrecision,
  type Opened,
  type PrecisionChoice,
} from "./precision.js";

/** Enough that a GPU is busy. */
const TIMED_IMAGES = 256;

type GpuPrecision = "fp32" | "fp16" | "fp8";

/** How a model is loaded in a precision. */
interface Loading {
  /** The towers that were asked for. */
  open: (precision: GpuPrecision) => Promise<Opened>;
  /** Both towers. */
  openBoth: (precision: GpuPrecision) => Promise<Opened>;
}

/**
 * What `precision: "auto"` means for a model on this GPU, loaded: fp16, or fp8 where its measured cosine to fp32
 * is at least AUTO_COSINE and it is AUTO_SPEEDUP times as fast as fp16. The choice is remembered in the cache
 * folder for this model, device, GPU and version. Where fp8 is not possible nothing is measured, and where the GPU
 * is too small to measure nothing is remembered; there is no choice then.
 */
export async function openOnGpu(
  loading: Loading,
  weights: string,
  device: string,
  cacheDir: string,
): Promise<Opened & { choice?: PrecisionChoice }> {
  const file = choiceFile(cacheDir, [weights, "gpu", device]);
  const known = await readChoice(file);
  if (known) {
    const opened = await ifPossible(() => loading.open(known.chosen as GpuPrecision));
    if (opened && gpuOf(opened.info) === known.gpu) return { ...opened, choice: known };
    await opened?.engine.close(); // it was measured on another GPU
  }
  const choice = await measuredChoice(loading.openBoth).catch(ofTooSmallGpu);
  if (!choice) return loading.open("fp16");
  await writeChoice(file, choice);
  return { ...(await loading.open(choice.chosen as GpuPrecision)), choice };
}

/** No choice where the GPU has no room for the model in fp32, which fp16 may still have. */
function ofTooSmallGpu(error: unknown): undefined {
  if (toTorchclipError(error).code !== "E_OUT_OF_MEMORY") throw error;
}

/** Undefined where fp8 is not possible. */
async function measuredChoice(open: Loading["open"]): Promise<PrecisionChoice | undefined> {
  const fp8 = await ifPossible(() => open("fp8"));
  if (!fp8) return undefined;
  const gpu = gpuOf(fp8.info);
  const ofFp8 = await measure(fp8);
  const ofFp32 = await measure(await open("fp32"));
  const ofFp16 = await measure(await open("fp16"));
  const row = (precision: GpuPrecision, { embeddings, seconds, dim }: Measurement): MeasuredPrecision => ({
    precision,
    cosine: leastCosine(ofFp32.embeddings, embeddings, dim),
    seconds,
  });
  const [fp32, ...candidates] = [row("fp32", ofFp32), row("fp16", ofFp16), row("fp8", ofFp8)];
  return { chosen: fastestOf(candidates), measured: [fp32, ...candidates], gpu };
}

interface Measurement {
  embeddings: Float32Array;
  seconds: number;
  dim: number;
}

/** Measures a model and closes it. */
async function measure(opened: Opened): Promise<Measurement> {
  const { engine, info } = opened;
  try {
    const { embeddings } = await check(engine, info);
    return { embeddings, seconds: await imageSeconds(opened, TIMED_IMAGES), dim: info.embedDim };
  } finally {
    await engine.close();
  }
}

/** The GPU in the names of runners: "fast fp16 (NVIDIA H200)". */
function gpuOf({ imageRunner, textRunner }: NativeInfo): string | undefined {
  return (/^fast \w+ \((.*)\)$/.exec(imageRunner) ?? /^fast \w+ \((.*)\)$/.exec(textRunner))?.[1];
}
