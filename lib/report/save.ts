import { join } from "node:path";
import type { Dataset } from "../datasets/dataset.js";
import type { RunManifest } from "../eval/run-manifest.js";
import type { ImagePrediction, ZeroShotResult } from "../eval/zero-shot.js";
import type { ImageLimits } from "../images/types.js";
import { csvText } from "../util/csv.js";
import { writeFileWhole } from "../util/files.js";
import { seededRandom, shuffle } from "../util/random.js";
import { chooseImages } from "./gallery.js";
import { reportHtml } from "./html.js";
import { examplePng, gridPng, type Tile } from "./images.js";
import { ranked, topPredictions } from "./text.js";

export interface SavedFiles {
  results: string;
  predictions: string;
  example: string;
  grid: string;
  report: string;
}

const GRID = 10;

export interface SaveOptions {
  /** The limits with which the run read the images. */
  limits?: ImageLimits;
  /** Lines for the head of the report: how a classifier was fitted, and how it compares. Default none. */
  summary?: readonly string[];
}

/** Writes results.json, predictions.csv, example.png, grid.png and report.html into a folder, each whole. */
export async function saveResults(
  folder: string,
  data: Dataset,
  result: ZeroShotResult,
  manifest: RunManifest,
  exampleIndex: number,
  { limits = {}, summary }: SaveOptions = {},
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
  const example = await examplePng({ ...(await exampleTile(data, shown)), limits });
  await writeFileWhole(files.example, example);
  const chosen = shuffle(seededRandom(manifest.seed), predictions.slice())
    .slice(0, GRID)
    .sort((a, b) => a.index - b.index);
  const tiles = await Promise.all(chosen.map((prediction) => gridTile(data, prediction)));
  await writeFileWhole(files.grid, await gridPng(tiles.map((tile) => ({ ...tile, limits }))));
  const report = await reportHtml({
    data,
    result,
    manifest,
    examplePng: example,
    exampleText: topPredictions(ranked(result.classNames, shown.probabilities, 5)),
    shown: chooseImages(result, chosen),
    limits,
    summary,
  });
  await writeFileWhole(files.report, report);
  return files;
}

async function exampleTile(data: Dataset, { index, label }: ImagePrediction): Promise<Tile> {
  const title = `${data.classes[label]} (${data.name} ${data.split}[${index}])`;
  return { image: await data.at(index).read(), lines: [title] };
}

async function gridTile(data: Dataset, prediction: ImagePrediction): Promise<Tile> {
  const { index, label, predicted, probabilities } = prediction;
  return {
    image: await data.at(index).read(),
    correct: predicted === label,
    lines: [
      `${data.classes[predicted]} ${(100 * probabilities[predicted]).toFixed(1)}%`,
      `true: ${data.classes[label]}`,
    ],
  };
}

function predictionsCsv(data: Dataset, { predictions }: ZeroShotResult): string {
  const head = [
    "index",
    "image",
    "true",
    "predicted",
    "correct",
    "probability",
    ...data.classes.map((name) => `p(${name})`),
  ];
  const rows = predictions.map(({ index, name, label, predicted, probabilities }) => [
    index,
    name,
    data.classes[label],
    data.classes[predicted],
    label === predicted ? 1 : 0,
    probabilities[predicted],
    ...probabilities,
  ]);
  return csvText([head, ...rows]);
}
