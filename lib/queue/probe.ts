import type { Clip } from "../clip/clip.js";
import type { BatchOptions } from "../clip/options.js";
import type { ListedImage } from "./run.js";
import type { ShardReader } from "./shard-images.js";
import type { ShardProgress } from "./shard-queue.js";

/** After so many workers that ended at a shard, its images are tried one after another. */
export const PROBE_AFTER = 3;
/** So many workers in a row that end at the same image set it aside. */
const SET_ASIDE_AFTER = 2;

/** What an earlier attempt left, as it stands in Redis; undefined where it left nothing of that kind. */
export function progressOf(value: unknown): ShardProgress | undefined {
  const { suspect, ended, aside } = (value ?? {}) as Partial<Record<keyof ShardProgress, unknown>>;
  const isProgress = typeof suspect === "number" && typeof ended === "number" && Array.isArray(aside);
  return isProgress ? { suspect, ended, aside: aside.map(Number) } : undefined;
}

/**
 * Finds the images that end a worker without an error (a decoder that crashes, memory that runs out): embeds
 * each alone and says before, in Redis, which it is. Where an earlier attempt stopped at an image twice, the
 * image is set aside. Resolves with the places of those images.
 *
 * A kill from outside hits the same image of the same shard twice in a row, after `PROBE_AFTER` others, only
 * by a rare chance.
 */
export async function probe(
  clip: Clip,
  images: readonly ListedImage[],
  given: {
    reader: ShardReader;
    earlier: ShardProgress | undefined;
    save: (progress: ShardProgress) => Promise<void>;
    options: BatchOptions;
  },
): Promise<Set<number>> {
  const { reader, earlier, save, options } = given;
  let state = earlier ?? { suspect: 0, ended: -1, aside: [] };
  state = { ...state, ended: state.ended + 1 };
  if (state.ended >= SET_ASIDE_AFTER)
    state = { suspect: state.suspect + 1, ended: 0, aside: [...state.aside, state.suspect] };
  for (let i = state.suspect; i < images.length; i++) {
    state = i === state.suspect ? state : { ...state, suspect: i, ended: 0 };
    await save(state);
    const image = reader.input(images[i].image);
    await clip.encodeImages([image], { ...options, batchSize: 1, onError: "collect" });
  }
  // The next attempt finds nothing to try: all images passed.
  await save({ ...state, suspect: images.length, ended: -1 });
  return new Set(state.aside);
}
