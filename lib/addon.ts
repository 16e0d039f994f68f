import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { NativeLearning, NativeTrainer } from "./addon-learning.js";
import { addonProblem, thisMachine } from "./addon-problem.js";
import { TorchclipError } from "./errors.js";
import { settings } from "./settings.js";
import { BACKENDS, backendFolder } from "./util/backend-folders.js";
import { setDetach } from "./util/free-memory.js";
import { packageRoot } from "./util/package.js";
import { platformPackages } from "./util/platform.js";

export type * from "./addon-learning.js";

/**
 * The native boundary: everything that the .node file exports, once. Memory is checked there, meaning here.
 * Arrays of the caller's never reach it, but copies that nobody else can transfer or free (lib/util/own.ts):
 * see native/addon/arguments.h.
 */
export interface Addon extends NativeLearning {
  Engine: new () => NativeEngine;
  /** An empty index of a type and dimension, or a mapped .npy of float32. */
  Index: { new (type: 0 | 1 | 2, dim: number): NativeIndex; new (path: string): NativeIndex };
  Trainer: new () => NativeTrainer;
  /** One decoded image (uint8 [height, width, channels]) into slot `slot` of uint8 [.., size, size, 3]. */
  preprocess(
    pixels: Uint8Array,
    width: number,
    height: number,
    channels: number,
    transform: NativeTransform,
    out: Uint8Array,
    slot: number,
  ): Promise<void>;
  /** Detaches a buffer, which frees its memory at once. No job may use it, nor any other view of it. */
  freeBuffer(buffer: ArrayBuffer): void;
  /** out[i * bRows + j] = a_i . b_j, at once, on the calling thread. */
  similarity(
    a: Float32Array,
    aRows: number,
    b: Float32Array,
    bRows: number,
    dim: number,
    device: string,
    out: Float32Array,
  ): void;
  /**
   * The base comes in consecutive blocks, one call each: `firstRow` is the number of the block's first row;
   * the results of the blocks before are in `indices` and `scores`.
   */
  topK(
    queries: Float32Array,
    queryRows: number,
    base: Float32Array,
    baseRows: number,
    firstRow: number,
    dim: number,
    k: number,
    device: string,
    indices: Int32Array,
    scores: Float32Array,
  ): Promise<void>;
  /**
   * The linear projection that makes the image embedding of the pooled feature, from an artifact: matrix
   * (float32 [embedDim, pooledDim]) and bias ([embedDim]). Resolves with 1; with 0 where the model has none, and
   * 2 where it has another kind, for which nothing is written.
   */
  imageProjection(
    path: string,
    embedDim: number,
    pooledDim: number,
    matrix: Float32Array,
    bias: Float32Array,
  ): Promise<number>;
  /** The tensors and the TorchScript that the settings of an artifact (torchclip.json) call for. */
  modelLayout(config: string): NativeLayout;
  /** Writes to `path` directly, without libtorch. The same specification gives the same bytes. */
  writeArtifact(spec: ArtifactSpec, path: string): Promise<void>;
  /**
   * Writes a tower of an artifact as a TorchScript module for servers of PyTorch models, to `path` directly: uint8
   * images [n, S, S, 3] or int64 token ids [n, L] in, normalised embeddings (float32 [n, dim]) out.
   */
  writeTowerModule(
    artifact: string,
    tower: "image" | "text",
    precision: "fp32" | "fp16",
    path: string,
  ): Promise<void>;
  /** Compares the code in an artifact with what its settings generate; nothing of it runs. */
  verifyArtifact(path: string): Promise<void>;
  /** Runs both methods of a third-party TorchScript export on zeros: the width of its embeddings. */
  probeTorchScript(path: string, imageSize: number, contextLength: number): Promise<number>;
  /** Writes such an export again, with the attributes and extra files of an artifact. */
  wrapTorchScript(path: string, config: string, tokenizer: string, output: string): Promise<void>;
  /** Operations a second of the machine's matrix product in fp32 (0), bf16 (1), fp16 (2) or int8 (3). */
  productSpeed(precision: 0 | 1 | 2 | 3, seconds: number): Promise<number>;
  /** ftfy.fix_encoding: text that was decoded by a wrong encoding, repaired. */
  fixEncoding(text: string): string;
  /**
   * Where backends (libtorchclip_torch, libtorchclip_cuda) are looked for before the addon's own folder, and the
   * folder that holds libtorch's lib/; "": the one that is recorded beside the backend. For backends that are
   * opened later. TORCHCLIP_BACKENDS and TORCHCLIP_LIBTORCH come before both.
   */
  setBackendPlaces(folders: readonly string[], libtorch: string): void;
  /** Opens libtorch only where there is an NVIDIA driver. */
  systemInfo(): NativeSystem;
  /**
   * The libtorch that is used, and the kernels that it chose. Opens it; E_ADDON where it does not load.
   */
  libtorchInfo(): NativeLibtorch;
  /**
   * Ends all work of this thread's engines and joins their threads; for the process's end alone. Where the
   * code of a third-party export does not return within 2 s, the process ends here with the exit code given.
   */
  shutdown(code: number): void;
}

/** See native/core/image/preprocess.h. */
export interface NativeTransform {
  size: number;
  /** 0 shorter side and crop, 1 squash, 2 longer side and fill. */
  resize: number;
  /** Side that it is resized to before the crop, pixels, at least `size`. */
  resized: number;
  /** Rounding of the crop's origin: 0 half to even, 1 down. */
  crop: number;
  /** 0 bicubic, 1 bilinear, 2 box, 3 hamming, 4 lanczos. */
  filter: number;
  fill: number;
}

export interface NativeEngine {
  load(
    path: string,
    device: string,
    precision: string,
    threads: number,
    generic: boolean,
    deterministic: boolean,
    trustCode: boolean,
    /** 0 both, 1 image, 2 text. */
    towers: 0 | 1 | 2,
  ): Promise<NativeInfo>;
  /**
   * Resolves with the seconds of the forward pass, on a GPU from when the call was begun, which may be before the call
   * ahead of it has ended. `cancel[0] = 1` drops the batch while it waits, and ends
   * it before its next layer. `output`: 0 the embedding, 1 the pooled feature.
   */
  encodePixels(
    pixels: Uint8Array,
    rows: number,
    output: 0 | 1,
    out: Float32Array,
    normalize: boolean,
    cancel: Int32Array,
  ): Promise<number>;
  /**
   * What `encodePixels` does, for images of any size, which are preprocessed where the model runs.
   * `failed[i]` becomes 1 for a JPEG file that no decoder of the device takes or that it fails at; its row
   * then means nothing.
   */
  encodeImages(
    images: readonly (
      { data: Uint8Array; width: number; height: number; channels: number } | { jpeg: Uint8Array }
    )[],
    output: 0 | 1,
    out: Float32Array,
    failed: Uint8Array,
    normalize: boolean,
    cancel: Int32Array,
  ): Promise<number>;
  encodeTokens(
    ids: Int32Array,
    rows: number,
    length: number,
    out: Float32Array,
    normalize: boolean,
    cancel: Int32Array,
  ): Promise<number>;
  close(): Promise<void>;
  memory(): NativeMemory;
}

/** See native/core/search/index.h. */
export interface NativeIndex {
  /**
   * Converts rows behind those that are there. They are found after `commit`, or never after `discard`;
   * `more`: how many will follow.
   */
  stage(rows: Float32Array, count: number, more: number): Promise<void>;
  commit(): void;
  discard(): void;
  /** Copies the rows to "cuda" or "cuda:N", where searches for at most 1,024 rows run from then on. */
  place(device: string): Promise<void>;
  /** Copies the rows that were added since to that device. */
  upload(): Promise<void>;
  search(
    queries: Float32Array,
    count: number,
    k: number,
    allowed: Uint8Array | null,
    indices: Int32Array,
    scores: Float32Array,
  ): Promise<void>;
  /** Rows [start, start + count) as float32. */
  read(start: number, count: number, out: Float32Array): void;
  close(): void;
  rows(): number;
  dim(): number;
  bytes(): number;
  /** Of the GPU's memory. */
  gpuBytes(): number;
}

export interface NativeMemory {
  /** Bytes, as `workspace`. */
  weights: number;
  workspace: number;
  /** Batches that wait for the device, or run on it. */
  waiting: number;
  /** Passes captured as CUDA graphs so far, and captures that the GPU refused; 0 on a CPU. */
  graphs: number;
  refusedGraphs: number;
  /** Why the GPU refused the last of those; empty if it refused none. */
  graphProblem: string;
}

/** What the engine says about a model that it loaded. */
export interface LoadedModel {
  imageSize: number;
  contextLength: number;
  /** Floats of one embedding. */
  embedDim: number;
  /** Floats of one pooled image feature (`output: "pooled"`); 0 for third-party exports, which give none. */
  pooledDim: number;
  vocabSize: number;
  /** exp of the learned parameter: logits = logitScale × cosine + logitBias. */
  logitScale: number;
  /** Of models trained with the sigmoid loss (SigLIP); 0 for the others. */
  logitBias: number;
  /** The device in use: "cpu", "cuda:0", with "cuda:all" all of them: "cuda:0,cuda:1" … */
  device: string;
  /** Copies of the model, which share its queue: with "cuda:all" one for each GPU, else 1. */
  replicas: number;
  /** What is computed in. */
  precision: "fp32" | "bf16" | "fp16" | "int8" | "fp8";
  /**
   * Which runner each tower uses: "fast bf16 (avx512_bf16)", "generic fp32 (TorchScript)" …; "not loaded" where
   * `load` was told to leave the tower out.
   */
  imageRunner: string;
  textRunner: string;
  /** Why `auto` chose the CPU; empty where the CPU was asked for. */
  deviceNote: string;
}

export interface NativeInfo extends LoadedModel {
  /** Padding may be left away. */
  trims: boolean;
  extra: Record<string, string>;
}

export interface NativeSystem {
  version: string;
  cpuFeatures: string[];
  /** Why no CUDA device can be used; empty where one can. */
  cudaProblem: string;
  cudaDevices: number;
  /**
   * Why torchclip's own CUDA kernels cannot be used; empty where they can. Without them TorchScript runs on
   * the GPU.
   */
  fastCudaProblem: string;
}

export interface NativeLibtorch {
  version: string;
  cpuCapability: string;
}

export interface TensorPart {
  file: string;
  offset: number;
  bytes: number;
  /** safetensors' names: F32, F16, BF16, F64, I64. */
  dtype: string;
  /** As in the file. */
  shape: number[];
  /** The tensor is the transpose of the matrix in the file. */
  transpose?: boolean;
}

/** See native/core/model/artifact/writer.h. */
export interface ArtifactSpec {
  /** torchclip.json and tokenizer.json. */
  config: string;
  tokenizer: string;
  tensors: { name: string; parts: TensorPart[]; dtype: "F32" | "F16" | "BF16" }[];
}

/** See native/core/model/config/layout.h. */
export interface NativeLayout {
  /** Each tensor's shape by its name; an axis of -1 takes any size. */
  shapes: [name: string, shape: number[]][];
  /** Children before the parents that call them. */
  modules: { path: string; source: string }[];
}

const require = createRequire(import.meta.url);
let loaded: Addon | undefined;

/** Loads the addon on first use, so that what needs no engine works without it. */
export function addon(): Addon {
  if (!loaded) {
    const { native, file } = loadAddon(addonPlaces());
    native.setBackendPlaces([dirname(file), ...BACKENDS.map(backendFolder)], "");
    // exit() destroys what the engines' threads still use: they end first, with the batch that runs.
    process.once("exit", (code) => native.shutdown(code & 255));
    setDetach((buffer) => native.freeBuffer(buffer));
    loaded = native;
  }
  return loaded;
}

/** A place where the addon may be. */
export interface AddonPlace {
  /** What the place is, for the error that lists it. */
  what: string;
  /** Where its file should be; undefined for a package that is not installed. */
  file: string | undefined;
}

/** In their order: the file that TORCHCLIP_ADDON names, alone; the local build; the package of the platform. */
export function addonPlaces(): AddonPlace[] {
  const { addonFile } = settings();
  if (addonFile) return [{ what: "TORCHCLIP_ADDON", file: addonFile }];
  const local = { what: "local build", file: join(packageRoot, "build", "Release", "torchclip.node") };
  const packages = platformPackages().map((name) => ({ what: name, file: fileOf(name) }));
  return [local, ...packages];
}

/** The addon of an installed package. */
function fileOf(packageName: string): string | undefined {
  try {
    return require.resolve(`${packageName}/torchclip.node`);
  } catch {
    return undefined;
  }
}

/**
 * Exported for tests: the first addon that is there and loads, with its file. The error says why there is
 * none, what was found, and the command that mends it.
 */
export function loadAddon(places: readonly AddonPlace[]): { native: Addon; file: string } {
  const tried: string[] = [];
  let cause: unknown;
  for (const { what, file } of places) {
    if (file === undefined) {
      tried.push(`${what}: not installed`);
      continue;
    }
    if (!existsSync(file)) {
      tried.push(`${what}: ${file}: no such file`);
      continue;
    }
    try {
      return { native: require(file) as Addon, file };
    } catch (error) {
      cause = error;
      tried.push(`${what}: ${file}: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  const error = (cause as Error | undefined)?.message;
  throw new TorchclipError("E_ADDON", addonProblem(tried, error, thisMachine()), { cause });
}
