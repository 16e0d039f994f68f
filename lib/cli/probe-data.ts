import { join } from "node:path";
import type { Clip } from "../clip/clip.js";
import type { Dataset } from "../datasets/index.js";
import { TorchclipError } from "../errors.js";
import { datasetFeatures, overlaps, type DatasetFeatures, type FeatureOptions } from "../learn/features.js";
import { pickRows } from "../learn/labelled.js";
import type { FeatureKind } from "../learn/probe-file.js";
import { holdOut } from "../learn/split.js";
import { settings } from "../settings.js";
import { shown } from "../util/untrusted.js";
import { progressBar, remark } from "./io.js";
import { datasetOf, requireSingleLabel } from "./load-dataset.js";
import type { DownloadFlags } from "./options.js";

/** The flags that say which data a probe is fitted on. */
export interface ProbeDataFlags extends SplitFlags {
  featureCache?: string;
  features: FeatureKind;
  batchSize: number;
  seed: number;
  autoRotate?: boolean;
  strict?: boolean;
}

/** The flags that say which splits are used. */
export interface SplitFlags extends DownloadFlags {
  dataset: string;
  trainSplit: string;
  validSplit: string;
  testSplit: string;
  root?: string;
}

/** The splits of a data set; the validation split may be missing. */
export interface Splits {
  train: Dataset;
  valid: Dataset | undefined;
  test: Dataset;
}

/** Loads the splits, which must have the same classes. */
export async function loadSplits(flags: SplitFlags, signal: AbortSignal): Promise<Splits> {
  const train = await datasetOf(flags, { split: flags.trainSplit, signal });
  const test = await datasetOf(flags, { split: flags.testSplit, signal });
  const has = new Set(train.splits.map(({ split }) => split));
  const valid = await datasetOf(flags, { split: flags.validSplit, signal }).catch((error: unknown) => {
    const isMissing = error instanceof TorchclipError && error.code === "E_DATASET_NOT_FOUND";
    // Only the usual name may be missing: one that was asked for must be there.
    if (isMissing && flags.validSplit === "valid") return undefined;
    throw error;
  });
  const used = { train, test, ...(valid ? { validation: valid } : {}) };
  for (const [a, first] of Object.entries(used)) {
    for (const [b, second] of Object.entries(used)) {
      if (a === b || first.split !== second.split) continue;
      const names = [...has].join(", ");
      const message = `${flags.dataset} gives the same split to ${a} and to ${b} (${first.split}); it has ${names}`;
      throw new TorchclipError("E_ARGUMENT", message, { subject: flags.dataset });
    }
  }
  requireSingleLabel(train, "a probe");
  for (const other of [valid, test]) if (other) checkClasses(train, other);
  noteMissingClasses(train);
  train.notes.forEach(remark);
  return { train, valid, test };
}

/** A class without training images is never predicted rightly; few-shot refuses it. */
function noteMissingClasses(train: Dataset): void {
  const seen = new Set([...train].map(({ label }) => label));
  const missing = train.classes.filter((_, label) => !seen.has(label));
  if (missing.length > 0)
    remark(`The split ${train.split} has no image of: ${missing.map(shown).join(", ")}.`);
}

function checkClasses(train: Dataset, other: Dataset): void {
  const difference = train.classes.findIndex((name, id) => other.classes[id] !== name);
  if (difference < 0 && train.classes.length === other.classes.length) return;
  const id = Math.max(0, difference);
  const message =
    `the splits ${train.split} and ${other.split} of ${train.name} have different classes: ` +
    `class ${id} is ${JSON.stringify(train.classes[id])} and ${JSON.stringify(other.classes[id])}`;
  throw new TorchclipError("E_DATASET_FORMAT", message, { subject: train.name });
}

/** Where features are kept. */
export function featureCache({
  featureCache: given,
  cacheDir,
}: Pick<ProbeDataFlags, "featureCache" | "cacheDir">): string {
  return given ?? join(settings({ cacheDir }).cacheDir, "features");
}

/** The features of a split, with a progress bar. */
export async function featuresOf(
  clip: Clip,
  data: Dataset,
  options: Omit<FeatureOptions, "onProgress">,
): Promise<DatasetFeatures> {
  const bar = progressBar(`features of ${data.split}`, "images/s");
  const found = await datasetFeatures(clip, data, { ...options, onProgress: bar.update }).finally(() =>
    bar.stop(),
  );
  if (found.skipped.length > 0) {
    const { name, message } = found.skipped[0];
    remark(`${found.skipped.length} images of ${data.split} were left out; the first is ${name}: ${message}`);
  }
  if (found.features.rows === 0) {
    const message = `none of the ${data.length} images of ${data.name} (${data.split}) could be read`;
    throw new TorchclipError("E_DATASET_EMPTY", message, { subject: data.name });
  }
  return found;
}

/** Features of the splits. */
export interface SplitFeatures {
  train: DatasetFeatures;
  valid: DatasetFeatures;
  test: DatasetFeatures;
  /** The training split with what was held out of it. */
  wholeTrain: DatasetFeatures;
  /** Where the validation images were held out of the training split. */
  heldOut: boolean;
}

const HELD_OUT = 0.2;

/** How the flags say that features are made. */
export function featureOptions(
  flags: ProbeDataFlags,
  features: FeatureKind,
  signal: AbortSignal,
): Omit<FeatureOptions, "onProgress"> {
  const { batchSize, autoRotate } = flags;
  return { cache: featureCache(flags), features, batchSize, autoRotate, signal };
}

/** Encodes what the cache does not have, and checks that no image is in two splits. */
export async function splitFeatures(
  clip: Clip,
  { train, valid, test }: Splits,
  flags: ProbeDataFlags,
  kind: FeatureKind,
  signal: AbortSignal,
): Promise<SplitFeatures> {
  const options = featureOptions(flags, kind, signal);
  const ofTrain = await featuresOf(clip, train, options);
  const ofValid = valid && (await featuresOf(clip, valid, options));
  const ofTest = await featuresOf(clip, test, options);
  if (ofValid) noteOverlap(train.split, ofTrain, valid.split, ofValid, flags.strict);
  if (ofValid) noteOverlap(valid.split, ofValid, test.split, ofTest, flags.strict);
  noteOverlap(train.split, ofTrain, test.split, ofTest, flags.strict);
  const both = { test: ofTest, wholeTrain: ofTrain };
  if (ofValid) return { ...both, train: ofTrain, valid: ofValid, heldOut: false };
  const { kept, held } = holdOut(ofTrain.labels, train.classes.length, HELD_OUT, flags.seed);
  return { ...both, train: pickImages(ofTrain, kept), valid: pickImages(ofTrain, held), heldOut: true };
}

/** Some of the images. */
function pickImages(given: DatasetFeatures, rows: readonly number[]): DatasetFeatures {
  return {
    ...pickRows(given, rows),
    indices: rows.map((row) => given.indices[row]),
    names: rows.map((row) => given.names[row]),
    contents: rows.map((row) => given.contents[row]),
    skipped: given.skipped,
    cached: given.cached,
  };
}

const SHOWN = 3; // overlapping images in a note

/** Names and contents of the images of a split. */
export type SplitContents = Pick<DatasetFeatures, "contents" | "names">;

/** Says which images are in both splits; with `strict` an error. */
export function noteOverlap(
  first: string,
  of: SplitContents,
  second: string,
  and: SplitContents,
  strict = false,
): void {
  const found = overlaps(of, and);
  if (found.length === 0) return;
  const names = found.slice(0, SHOWN).map((pair) => `${pair.first} = ${pair.second}`);
  const more = found.length > SHOWN ? ` and ${found.length - SHOWN} more` : "";
  const images = found.length === 1 ? "an image is" : `${found.length} images are`;
  const message = `${images} in ${first} and in ${second}: ${names.join(", ")}${more}`;
  if (strict) throw new TorchclipError("E_DATASET_FORMAT", message, { subject: found[0].second });
  remark(`${message}. The accuracy says less for it; --strict makes this an error.`);
}
