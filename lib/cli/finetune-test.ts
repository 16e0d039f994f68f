import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clip } from "../clip/clip.js";
import { load } from "../clip/load.js";
import { runManifest, zeroShot } from "../eval/native.js";
import type { ZeroShotResult } from "../eval/zero-shot.js";
import type { FinetuneResult } from "../finetune/finetune.js";
import { compareResults } from "../learn/evaluate.js";
import { metricsText } from "../report/text.js";
import { csvText } from "../util/csv.js";
import { writeFileWhole } from "../util/files.js";
import type { FinetuneFlags } from "./finetune-flags.js";
import { finetuneText } from "./finetune-text.js";
import { progressBar } from "./io.js";
import { imageLimits, loadOptions } from "./options.js";
import type { Splits } from "./probe-data.js";
import { comparisonText } from "./probe-text.js";
import { runSettings } from "./run-settings.js";

/** Zero-shot classification of the test split by a model, with the prompts of the training. */
async function testModel(
  model: string,
  { test: data }: Splits,
  { prompts, classNames }: FinetuneResult,
  flags: FinetuneFlags,
  signal: AbortSignal,
): Promise<{ clip: Clip; result: ZeroShotResult }> {
  const clip = await load(model, { ...loadOptions(flags, signal), onProgress: undefined });
  const bar = progressBar("test", "images/s");
  try {
    const options = { prompts, classNames: [...classNames], seed: flags.seed, autoRotate: flags.autoRotate };
    const result = await zeroShot(clip, data, { ...options, signal, onProgress: bar.update });
    return { clip, result };
  } catch (error) {
    await clip.close();
    throw error;
  } finally {
    bar.stop();
  }
}

/** What the manifest says of the training. */
function trainingManifest(
  { recipe, config, history, taken, best, sweep, device, trained, saved }: FinetuneResult,
  { train, valid }: Splits,
) {
  return {
    start: { name: config.name, sha256: config.source.sha256 },
    device,
    recipe,
    trained,
    images: { train: train.length, split: train.split, valid: valid?.split },
    steps: history.steps.length,
    taken,
    best,
    sweep,
    files: saved.files,
  };
}

/** Writes training.json, training.csv and training.html. */
async function saveTraining(
  folder: string,
  trained: FinetuneResult,
  manifest: object,
): Promise<Record<"json" | "csv" | "html", string>> {
  const { trainingPage } = await import("../report/training.js");
  const [json, csv, html] = ["json", "csv", "html"].map((ending) => join(folder, `training.${ending}`));
  const { history, sweep } = trained;
  await writeFileWhole(json, `${JSON.stringify({ manifest, history }, null, 2)}\n`);
  const columns = ["step", "loss", "accuracy", "learningRate", "norm"] as const;
  const rows = history.steps.map((record) => columns.map((column) => record[column]));
  await writeFileWhole(csv, csvText([columns, ...rows]));
  await writeFileWhole(html, await trainingPage({ ...about(trained), history, sweep }));
  return { json, csv, html };
}

function about({ config, recipe, trained, device }: FinetuneResult) {
  const { optimizer, learningRate, batchSize, accumulate } = recipe;
  const parts = [
    optimizer,
    `learning rate ${learningRate}`,
    `${batchSize * accumulate} images a step`,
    `${trained.values.toLocaleString("en")} trained values`,
    device,
  ];
  return { title: `Fine-tuning of ${config.name}`, about: parts.join(", ") };
}

/** Tests both models, saves what `eval` saves of the trained one, and how the training went. */
export async function testBeforeAndAfter(
  splits: Splits,
  trained: FinetuneResult,
  flags: FinetuneFlags,
  signal: AbortSignal,
): Promise<void> {
  const before = await testModel(flags.model, splits, trained, flags, signal);
  await before.clip.close();
  const after = await testModel(
    trained.saved.artifact,
    splits,
    trained,
    { ...flags, adapter: undefined },
    signal,
  );
  try {
    const comparison = compareResults(before.result, after.result);
    const settings = await runSettings(after.clip, { ...flags, batchSize: trained.recipe.batchSize });
    const manifest = {
      ...runManifest(after.clip, splits.test, after.result, settings),
      training: trainingManifest(trained, splits),
      comparison,
    };
    const compared = comparisonText(comparison, { ...after.result, method: "Fine-tuned" });
    const { saveResults } = await import("../report/save.js");
    const files = await saveResults(flags.out, splits.test, after.result, manifest, flags.example, {
      limits: imageLimits(flags),
      summary: compared,
    });
    const training = await saveTraining(flags.out, trained, manifest);
    if (flags.json) {
      process.stdout.write(await readFile(training.json, "utf8"));
      return;
    }
    const saved = [
      ...trained.saved.files,
      ...Object.values(training),
      ...Object.values<string>({ ...files }),
    ];
    const text = [
      ...finetuneText(trained),
      "",
      metricsText(after.result, splits.test.classes),
      "",
      ...compared,
      "",
      `Saved: ${saved.join(", ")}`,
    ];
    process.stdout.write(`${text.join("\n")}\n`);
  } finally {
    await after.clip.close();
  }
}
