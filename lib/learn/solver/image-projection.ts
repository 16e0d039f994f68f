import { addon } from "../../addon.js";
import { normalizeRows, type Embeddings } from "../../embeddings.js";
import { TorchclipError, toTorchclipError } from "../../errors.js";
import { checkFeatures } from "./linear-probe.js";

/** Of `clip.info`, what the projection of a model is read by. */
export interface ProjectedModel {
  /** Path of the artifact. */
  path: string;
  embedDim: number;
  pooledDim: number;
}

/**
 * What makes the image embedding of the pooled feature. "none": the two are equal (SigLIP); "linear": a matrix;
 * "other": something else (ConvNeXt's MLP head, third-party exports).
 */
export type ProjectionKind = "none" | "linear" | "other";

const KINDS: readonly ProjectionKind[] = ["none", "linear", "other"];

const ROWS_AT_ONCE = 4096; // bounds the float64 rows that are held

export interface ImageProjectionInit {
  dim: number;
  pooledDim: number;
  matrix: Float64Array;
  bias: Float64Array;
}

/**
 * A linear projection from pooled image features to embeddings: matrix x + bias, then divided by its length.
 *
 * @example
 * const { projection } = await readImageProjection(clip.info);
 * const pooled = await clip.encodeImages(images, { output: "pooled" });
 * const embeddings = await projection?.embed(pooled); // what clip.encodeImages(images) gives, to 1e-6
 */
export class ImageProjection implements ImageProjectionInit {
  /** Floats of an embedding. */
  readonly dim: number;
  /** Floats of a pooled feature. */
  readonly pooledDim: number;
  /** float64 [dim, pooledDim], row-major, as torch's Linear has its weight. */
  readonly matrix: Float64Array;
  /** float64 [dim]; zeros where the model has none. */
  readonly bias: Float64Array;

  constructor(init: ImageProjectionInit) {
    this.dim = init.dim;
    this.pooledDim = init.pooledDim;
    this.matrix = init.matrix;
    this.bias = init.bias;
  }

  /**
   * The normalised embeddings of pooled features: float32 [rows, dim]. Throws E_ARGUMENT for features of another
   * dimension and for rows that are not finite.
   */
  async embed(pooled: Embeddings, threads = 0): Promise<Embeddings> {
    checkFeatures(pooled);
    checkPooledDim(pooled, this);
    const { rows } = pooled;
    const { dim, pooledDim } = this;
    // Copies: a caller may transfer its arrays while a thread reads them.
    const [matrix, bias] = [this.matrix.slice(), this.bias.slice()];
    const data = new Float32Array(rows * dim);
    for (let first = 0; first < rows; first += ROWS_AT_ONCE) {
      const count = Math.min(ROWS_AT_ONCE, rows - first);
      const part = pooled.data.slice(first * pooledDim, (first + count) * pooledDim);
      const out = new Float64Array(count * dim);
      try {
        await addon().probeLogits(part, count, pooledDim, matrix, bias, dim, threads, out);
      } catch (error) {
        throw toTorchclipError(error);
      }
      data.set(out, first * dim);
    }
    return normalizeRows({ data, rows, dim });
  }
}

/** Throws E_ARGUMENT for features of another dimension than a projection takes. */
export function checkPooledDim({ dim }: Embeddings, { pooledDim }: ImageProjection): void {
  if (dim === pooledDim) return;
  const message = `the features have ${dim} dimensions, the projection takes ${pooledDim}`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: "features" });
}

/**
 * The image projection of a loaded model, read from its artifact; `projection` is there where it is linear.
 * Throws E_MODEL_NOT_FOUND or E_MODEL_CORRUPT where the artifact has been removed or changed since it was loaded.
 */
export async function readImageProjection({
  path,
  embedDim,
  pooledDim,
}: ProjectedModel): Promise<{ kind: ProjectionKind; projection?: ImageProjection }> {
  if (pooledDim === 0) return { kind: "other" };
  const matrix = new Float32Array(embedDim * pooledDim);
  const bias = new Float32Array(embedDim);
  try {
    const kind = KINDS[await addon().imageProjection(path, embedDim, pooledDim, matrix, bias)];
    if (kind !== "linear") return { kind };
  } catch (error) {
    throw toTorchclipError(error, "E_INTERNAL", { subject: path });
  }
  const values = { matrix: Float64Array.from(matrix), bias: Float64Array.from(bias) };
  return { kind: "linear", projection: new ImageProjection({ dim: embedDim, pooledDim, ...values }) };
}
