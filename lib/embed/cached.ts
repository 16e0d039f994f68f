import type { Clip } from "../clip/clip.js";
import type { StageTimes } from "../clip/options.js";
import { toTorchclipError } from "../errors.js";
import { lock } from "../util/lock.js";
import { embedRows, imageJob, nothingIn, settingsOf, textJob, type EmbedOptions, type Job } from "./embed.js";
import type { Identity } from "./identity.js";
import { Partial } from "./partial.js";
import { errorsOf, type RowError } from "./save-npy.js";
import type { ImageSource } from "./sources.js";

/** Embeddings in memory, float32 [rows, dim], of which a folder keeps a copy. */
export interface CachedRows {
  data: Float32Array;
  rows: number;
  dim: number;
  /** Of the rows that are NaN. */
  errors: RowError[];
  /** Rows that were in the folder already. */
  resumed: number;
  times: StageTimes;
}

/**
 * Embeddings of the images of a source. What is computed stays in `folder`, and a later call takes over the rows
 * of the images whose name and content are there; the rows of another model or of other settings are begun anew.
 * Throws E_LOCKED while another process uses the folder, E_WRITE where it cannot be written, E_DATASET_EMPTY.
 */
export async function cachedImages(
  clip: Clip,
  source: ImageSource,
  folder: string,
  options: EmbedOptions,
): Promise<CachedRows> {
  return cached(clip, folder, options, imageJob(clip, source, options));
}

/** Embeddings of texts, kept as those of `cachedImages`. */
export async function cachedTexts(
  clip: Clip,
  texts: readonly string[],
  folder: string,
  options: EmbedOptions,
): Promise<CachedRows> {
  return cached(clip, folder, options, textJob(clip, texts, options));
}

async function cached<T extends Identity>(
  clip: Clip,
  folder: string,
  options: EmbedOptions,
  job: Job<T>,
): Promise<CachedRows> {
  const { settings, wholeBatches } = settingsOf(clip, job, options);
  const held = await lock(`${folder}.lock`);
  const state = new Partial(folder, clip.info.embedDim);
  try {
    await state.begin(settings);
    const kept = { state, held, stored: state.stored(), wholeBatches };
    const { order, resumed } = await embedRows(job, kept, options.onProgress);
    if (order.length === 0) throw nothingIn(options.input);
    const errors = errorsOf({ state, order });
    return { ...(await state.read(order)), errors, resumed, times: job.times };
  } catch (error) {
    throw toTorchclipError(error, "E_INTERNAL", { subject: folder });
  } finally {
    await state.close();
    await held.release();
  }
}
