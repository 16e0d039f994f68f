import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { limitCaptions, type CaptionSet } from "../datasets/captions/caption-set.js";
import { loadCaptions } from "../datasets/index.js";
import { evaluateRetrieval, retrievalManifest } from "../eval/native.js";
import type { Clip } from "../clip/clip.js";
import type { RetrievalResult } from "../eval/retrieval.js";
import { captionLines, retrievalText } from "../report/retrieval-text.js";
import { modelLines, timesText } from "../report/text.js";
import { interruptSignal, note, progressBar, remark, type ProgressBar } from "./io.js";
import { loadForImages } from "./load-for-images.js";
import { imageLimits, loadOptions, type ImageFlags, type ModelFlags } from "./options.js";
import { runSettings } from "./run-settings.js";

interface Flags extends ModelFlags, ImageFlags {
  split?: string;
  root?: string;
  maxCaptions?: number;
  csvImgKey?: string;
  csvCaptionKey?: string;
  csvSeparator?: string;
  out: string;
  batchSize: number;
  limit?: number;
  seed: number;
  onError: "skip" | "fail";
  strict?: boolean;
  autoRotate?: boolean;
  json?: boolean;
}

/** What `torchclip retrieve` does. */
export async function run(file: string, flags: Flags): Promise<void> {
  const signal = interruptSignal();
  const data = await captions(file, flags);
  const clip = await loadForImages(flags.model, loadOptions(flags, signal));
  const print = (text: string) => {
    if (!flags.json) process.stdout.write(`${text}\n`);
  };
  try {
    print(`${modelLines(clip)}\n\n${captionLines(data)}\n`);
    const result = await evaluated(clip, data, flags, signal);
    const manifest = retrievalManifest(clip, data, result, await runSettings(clip, flags));
    const { saveRetrieval } = await import("../report/save-retrieval.js");
    const files = await saveRetrieval(flags.out, data, result, manifest, imageLimits(flags));
    print(`${retrievalText(result)}\n${resumedText(result)}\n${timesText(result.times)}`);
    print(`Saved: ${Object.values(files).join(", ")}`);
    if (flags.json) process.stdout.write(await readFile(files.results, "utf8"));
  } catch (error) {
    if (signal.aborted) note("Stopped. The same command goes on where it was.");
    throw error;
  } finally {
    await clip.close();
  }
}

/** What an earlier run had computed, in a line; empty where that is nothing. */
function resumedText({ resumed: { images, captions } }: RetrievalResult): string {
  return images + captions > 0
    ? `\nTaken over from an earlier run: ${images} images, ${captions} captions.`
    : "";
}

async function captions(file: string, flags: Flags): Promise<CaptionSet> {
  const { split, root, maxCaptions, strict } = flags;
  const separator = flags.csvSeparator?.replaceAll("\\t", "\t");
  const columns = { imageKey: flags.csvImgKey, captionKey: flags.csvCaptionKey, separator };
  const data = await loadCaptions(file, { split, root, maxCaptions, strict, ...columns });
  data.notes?.forEach(remark);
  return flags.limit === undefined ? data : limitCaptions(data, flags.limit);
}

async function evaluated(
  clip: Clip,
  data: CaptionSet,
  flags: Flags,
  signal: AbortSignal,
): Promise<RetrievalResult> {
  const { batchSize, onError, autoRotate, seed } = flags;
  const bars = new Map<string, ProgressBar>();
  const onProgress = (what: "images" | "captions", done: number, total: number) => {
    const bar = bars.get(what) ?? progressBar(what, `${what}/s`);
    bars.set(what, bar);
    bar.update(done, total);
    if (done === total) bar.stop();
  };
  const cache = join(flags.out, "embeddings");
  try {
    return await evaluateRetrieval(clip, data, {
      batchSize,
      onError,
      autoRotate,
      seed,
      signal,
      cache,
      onProgress,
    });
  } finally {
    for (const bar of bars.values()) bar.stop();
  }
}
