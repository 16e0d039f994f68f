import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import type { Clip } from "../clip/clip.js";
import { normalizeRows, type Embeddings } from "../embeddings.js";
import { runManifest } from "../eval/native.js";
import type { ZeroShotResult } from "../eval/zero-shot.js";
import { compareResults, probeResult, scoredResult, zeroShotOfFeatures } from "../learn/evaluate.js";
import { nearestNeighbours } from "../learn/knn.js";
import { joinRows } from "../learn/labelled.js";
import { fitByProtocol, type ProtocolResult } from "../learn/lambda-search.js";
import { embeddingsOfPooled } from "../learn/pooled-features.js";
import { probeModel, writeProbe } from "../learn/probe-file.js";
import { datasetLines, metricsText, modelLines } from "../report/text.js";
import type { FewShotFlags } from "./few-shot.js";
import { interruptSignal, note, progressBar } from "./io.js";
import { loadForImages } from "./load-for-images.js";
import { refuseGiven } from "./option-rules.js";
import { imageLimits, loadOptions, type ImageFlags, type ModelFlags } from "./options.js";
import { featureOptions, loadSplits, splitFeatures, type SplitFeatures, type Splits } from "./probe-data.js";
import { comparisonText, fitText, searchText } from "./probe-text.js";
import { runSettings } from "./run-settings.js";

export interface ProbeFlags extends FewShotFlags, ModelFlags, ImageFlags {
  method: "probe" | "knn";
  lambda?: number;
  standardize?: boolean;
  neighbours: number;
  temperature: number;
  example: number;
}

const FEW_SHOT_OPTIONS = ["seeds", "methods", "template"];
const PROBE_OPTIONS = ["lambda", "standardize"];
const NEIGHBOUR_OPTIONS = ["neighbours", "temperature"];

/** Refuses options that the method which is asked for does not take. */
function checkOptions({ shots, splitFile, method }: ProbeFlags, command: Command): void {
  const refuse = (options: readonly string[], reason: string) => refuseGiven(command, options, reason);
  if (splitFile !== undefined)
    refuse(["shots", "seeds"], "cannot be given with --split-file, which is one draw");
  if (shots ?? splitFile) {
    const others = ["method", ...PROBE_OPTIONS, ...NEIGHBOUR_OPTIONS];
    refuse(
      others,
      "has no meaning in few-shot (--shots, --split-file), whose --methods have settings of their own",
    );
  } else {
    refuse(FEW_SHOT_OPTIONS, "is an option of few-shot: give --shots or --split-file too");
  }
  if (method === "knn") refuse(PROBE_OPTIONS, "has no meaning with --method knn");
  else refuse(NEIGHBOUR_OPTIONS, "has no meaning without --method knn");
}

/** What `torchclip probe` does. */
export async function run(flags: ProbeFlags, command: Command): Promise<void> {
  checkOptions(flags, command);
  const signal = interruptSignal();
  const splits = await loadSplits(flags, signal);
  const fewShot = (flags.shots ?? flags.splitFile) ? await import("./few-shot.js") : undefined;
  await fewShot?.checkFewShot(splits, flags);
  const clip = await loadForImages(flags.model, loadOptions(flags, signal));
  try {
    if (!flags.json) process.stdout.write(`${modelLines(clip)}\n\n${datasetLines(splits.test)}\n\n`);
    if (fewShot) {
      await fewShot.compareFewShot(clip, splits, flags, signal);
      return;
    }
    const features = await splitFeatures(clip, splits, flags, flags.features, signal);
    const work = { clip, splits, features, flags, signal };
    const outcome = flags.method === "knn" ? await byNeighbours(work) : await byProbe(work);
    await report(work, outcome);
  } finally {
    await clip.close();
  }
}

interface Work {
  clip: Clip;
  splits: Splits;
  features: SplitFeatures;
  flags: ProbeFlags;
  signal: AbortSignal;
}

interface Outcome {
  result: ZeroShotResult;
  /** What the manifest says of the method. */
  about: object;
  /** What is shown of the fit. */
  text: string[];
}

async function byProbe({ clip, splits, features, flags, signal }: Work): Promise<Outcome> {
  const { test } = splits;
  const { lambda, standardize, seed } = flags;
  const { probe, search } = await fitWithBar({ clip, splits, features, flags, signal });
  const file = join(flags.out, "probe.safetensors");
  const model = probeModel(clip.info, flags.features);
  await writeProbe(file, { probe, model });
  const result = await probeResult(test, features.test, probe, seed);
  const images = features.train.features.rows + features.valid.features.rows;
  return {
    result,
    about: {
      method: "probe",
      features: model.features,
      lambda: probe.lambda,
      standardize: standardize ?? false,
      fit: probe.fit,
      search: lambda === undefined ? search : undefined,
      fitted: {
        images,
        train: splits.train.split,
        valid: features.heldOut ? "held out" : splits.valid?.split,
      },
    },
    text: [...searchText(search, features.heldOut), fitText(probe, images, model.features), `Probe: ${file}`],
  };
}

async function fitWithBar({ splits, features, flags, signal }: Work): Promise<ProtocolResult> {
  const bar = progressBar("λ");
  const { lambda, standardize, threads } = flags;
  return fitByProtocol(features.train, features.valid, {
    classes: splits.train.classes,
    lambda,
    standardize,
    threads,
    signal,
    onTry: (_lambda, done, total) => bar.update(done, total),
  }).finally(() => bar.stop());
}

async function byNeighbours({ splits, features, flags }: Work): Promise<Outcome> {
  const { neighbours: k, temperature } = flags;
  const all = joinRows(features.train, features.valid);
  const classes = splits.test.classes.length;
  const train = { ...all, features: unitRows(all.features) };
  const shares = await nearestNeighbours(train, unitRows(features.test.features), classes, {
    k,
    temperature,
  });
  const result = scoredResult(splits.test, features.test, "Nearest neighbours", shares, shares, flags.seed);
  const images = all.features.rows;
  return {
    result,
    about: { method: "knn", features: flags.features, k, temperature, fitted: { images } },
    text: [
      `k-NN: the ${Math.min(k, images)} nearest of ${images} images vote, temperature ${temperature}` +
        (flags.features === "pooled" ? ", by the cosines of pooled features" : ""),
    ],
  };
}

/** A copy with rows of length 1; those of embeddings are so already. */
const unitRows = (features: Embeddings) => normalizeRows({ ...features, data: features.data.slice() });

/** Saves the results and shows them beside zero-shot. */
async function report({ clip, splits, features, flags, signal }: Work, outcome: Outcome): Promise<void> {
  const { test } = splits;
  const { result, about, text } = outcome;
  const { seed } = flags;
  const embeddings =
    flags.features === "pooled"
      ? await embeddingsOfPooled(clip, test, features.test, featureOptions(flags, "embedding", signal))
      : features.test;
  const zeroShot = await zeroShotOfFeatures(clip, test, embeddings, { seed, signal });
  const comparison = compareResults(zeroShot, result);
  const manifest = {
    ...runManifest(clip, test, result, await runSettings(clip, flags)),
    classifier: about,
    comparison,
  };
  const { saveResults } = await import("../report/save.js");
  const summary = [...text, ...comparisonText(comparison, result)];
  const shown = { limits: imageLimits(flags), summary };
  const files = await saveResults(flags.out, test, result, manifest, flags.example, shown);
  if (flags.json) {
    process.stdout.write(await readFile(files.results, "utf8"));
    return;
  }
  const all = [...text, "", metricsText(result, test.classes), "", ...comparisonText(comparison, result), ""];
  process.stdout.write(`${all.join("\n")}\n`);
  const cached =
    features.train.cached + features.test.cached + (features.heldOut ? 0 : features.valid.cached);
  note(`Features of ${cached} images came from the cache.`);
  process.stdout.write(`Saved: ${Object.values(files).join(", ")}\n`);
}
