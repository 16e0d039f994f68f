import { join } from "node:path";
import type { Dataset } from "../datasets/dataset.js";
import type { RunManifest } from "../eval/run-manifest.js";
import type { ZeroShotResult } from "../eval/zero-shot.js";
import { csvCell } from "../util/csv.js";
import { writeFileWhole } from "../util/files.js";
import { seededRandom, shuffle } from "../util/random.js";
import { chooseImages } from "./gallery.js";
import { reportHtml } from "./html.js";
import { examplePng, gridPng } from "./images.js";
import { topPredictions } from "./text.js";

export interface SavedFiles {
  results: string;
  predictions: string;
  example: string;
  grid: string;
  report: string;
}

const GRID = 10;

/** Writes results.json, predictions.csv, example.png, grid.png and report.html into a folder, each whole. */
export async function saveResults(
  folder: string,
  data: Dataset,
  result: ZeroShotResult,
  manifest: RunManifest,
  exampleIndex: number,
): Promise<SavedFiles> {
  const { predictions, metrics, skipped } = result;
  const files: SavedFiles = {
    results: join(folder, "results.json"),
    predictions: join(folder, "predictions.csv"),
    example: join(folder, "example.png"),
    grid: join(folder, "grid.png"),
    report: join(folder, "report.html"),
  };
  await writeFileWhole(files.results, JSON.stringify({ manifest, metrics, skipped }, null, 2) + "\n");
  await writeFileWhole(files.predictions, predictionsCsv(data, result));
  const shown = predictions.find((p) => p.index === exampleIndex) ?? predictions[0];
  const example = await examplePng({
    image: await data.at(shown.index).read(),
    lines: [`${data.classes[shown.label]} (${data.name} ${data.split}[${shown.index}])`],
  });
  await writeFileWhole(files.example, example);
  const chosen = shuffle(seededRandom(manifest.seed), predictions.slice())
    .slice(0, GRID)
    .sort((a, b) => a.index - b.index);
  const grid = await gridPng(
    await Promise.all(
      chosen.map(async (p) => ({
        image: await data.at(p.index).read(),
        correct: p.predicted === p.label,
        lines: [
          `${data.classes[p.predicted]} ${(100 * p.probabilities[p.predicted]).toFixed(1)}%`,
          `true: ${data.classes[p.label]}`,
        ],
      })),
    ),
  );
  await writeFileWhole(files.grid, grid);
  const exampleText = topPredictions(ranked(result.classNames, shown.probabilities, 5));
  const images = chooseImages(result, chosen);
  await writeFileWhole(
    files.report,
    await reportHtml({ data, result, manifest, examplePng: example, exampleText, shown: images }),
  );
  return files;
}

/** Classes by falling probability. */
export function ranked(
  classNames: readonly string[],
  probabilities: readonly number[],
  k: number,
): { label: string; probability: number }[] {
  return classNames
    .map((label, i) => ({ label, probability: probabilities[i] }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, k);
}

function predictionsCsv(data: Dataset, { predictions }: ZeroShotResult): string {
  const head = [
    "index",
    "image",
    "true",
    "predicted",
    "correct",
    "probability",
    ...data.classes.map((c) => `p(${c})`),
  ];
  const lines = predictions.map((p) =>
    [
      p.index,
      p.name,
      data.classes[p.label],
      data.classes[p.predicted],
      p.label === p.predicted ? 1 : 0,
      p.probabilities[p.predicted],
      ...p.probabilities,
    ]
      .map((v) => csvCell(v))
      .join(","),
  );
  return [head.map((v) => csvCell(v)).join(","), ...lines, ""].join("\n");
}
