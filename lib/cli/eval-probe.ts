import { readFile } from "node:fs/promises";
import type { Dataset } from "../datasets/index.js";
import { TorchclipError } from "../errors.js";
import { runManifest } from "../eval/native.js";
import { compareResults, probeResult, zeroShotOfFeatures } from "../learn/evaluate.js";
import { embeddingsOfPooled } from "../learn/pooled-features.js";
import { checkProbeModel, readProbe, type StoredProbe } from "../learn/probe-file.js";
import { datasetLines, modelLines } from "../report/text.js";
import { chosen, classList, dataset, promptSet, resultText, type EvalFlags } from "./evaluate.js";
import { requireSingleLabel } from "./load-dataset.js";
import { loadForImages } from "./load-for-images.js";
import { imageLimits, loadOptions } from "./options.js";
import { featureCache, featuresOf } from "./probe-data.js";
import { comparisonText } from "./probe-text.js";
import { runSettings } from "./run-settings.js";

/** Evaluates a probe, and zero-shot on the same images; writes the results of the probe into `flags.out`. */
export async function evaluateProbe(flags: EvalFlags, file: string, signal: AbortSignal): Promise<void> {
  const stored = await readProbe(file);
  const prompts = await promptSet(flags);
  const classNames = await classList(flags.classes);
  const given = chosen(await dataset(flags, classNames, signal), classNames, flags);
  requireSingleLabel(given, "a probe");
  const data = inOrderOf(given, stored, file);
  const renamed = classNames && inPrompts(given, classNames, data);
  const clip = await loadForImages(flags.model, loadOptions(flags, signal));
  try {
    checkProbeModel(file, stored, clip.info);
    if (!flags.json) process.stdout.write(`${modelLines(clip)}\n\n${datasetLines(data)}\n\n`);
    const { seed, batchSize, autoRotate, onError } = flags;
    const cache = featureCache(flags);
    const { probe, model } = stored;
    const options = { cache, features: model.features, batchSize, autoRotate, onError, signal };
    const features = await featuresOf(clip, data, options);
    const result = await probeResult(data, features, probe, seed);
    const embeddings =
      model.features === "pooled" ? await embeddingsOfPooled(clip, data, features, options) : features;
    const zeroShot = await zeroShotOfFeatures(clip, data, embeddings, {
      prompts,
      classNames: renamed,
      seed,
      signal,
    });
    const comparison = compareResults(zeroShot, result);
    const manifest = {
      ...runManifest(clip, data, result, await runSettings(clip, flags)),
      classifier: { method: "probe", file, features: model.features, lambda: probe.lambda },
      zeroShot: { prompts: zeroShot.prompts, metrics: zeroShot.metrics },
      comparison,
    };
    const { saveResults } = await import("../report/save.js");
    const compared = comparisonText(comparison, result);
    const shown = { limits: imageLimits(flags), summary: compared };
    const files = await saveResults(flags.out, data, result, manifest, flags.example, shown);
    const text = [resultText(result, data, files, flags.example), "", ...compared, ""];
    process.stdout.write(flags.json ? await readFile(files.results, "utf8") : text.join("\n"));
  } finally {
    await clip.close();
  }
}

/**
 * What stands in the prompts for the classes of `ordered`: the names of --classes, which are in the order of
 * `given`'s classes; a class that only the probe has keeps its name.
 */
function inPrompts(given: Dataset, names: readonly string[], ordered: Dataset): string[] {
  if (names.length !== given.classes.length) {
    const message = `--classes has ${names.length} names, and ${given.name} has ${given.classes.length} classes`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: "classes" });
  }
  return ordered.classes.map((name) => names[given.classes.indexOf(name)] ?? name);
}

/** The data set with its classes in the order of the probe's. E_ARGUMENT where they are others. */
function inOrderOf(data: Dataset, { probe }: StoredProbe, file: string): Dataset {
  const unknown = data.classes.find((name) => !probe.classes.includes(name));
  const ordered = unknown === undefined ? data.withClasses(probe.classes) : undefined;
  if (ordered) return ordered;
  const message =
    `${file} has the classes ${probe.classes.slice(0, 5).join(", ")}, ` +
    `and ${data.name} has ${JSON.stringify(unknown)}, which is none of them`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: file });
}
