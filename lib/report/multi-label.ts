import { join } from "node:path";
import { encode } from "html-entities";
import type { Dataset } from "../datasets/dataset.js";
import type { MultiLabelMetrics } from "../eval/multi-label.js";
import type { RunManifest } from "../eval/run-manifest.js";
import type { ZeroShotResult } from "../eval/zero-shot.js";
import { csvText } from "../util/csv.js";
import { writeFileWhole } from "../util/files.js";
import { figureHtml } from "./figure.js";
import { reportPage } from "./page.js";
import { manifestHtml, runHtml } from "./run-html.js";
import { percent, skippedLines } from "./text.js";

/** The result of a data set whose images may have several classes. */
export type MultiLabelResult = ZeroShotResult & { multiLabel: MultiLabelMetrics };

export interface SavedMultiLabel {
  results: string;
  predictions: string;
  report: string;
}

const PLAIN = "precision at each image that has the class, mean over these images, then over classes";
const POINTS = "the same by the 11 points of VOC 2007, as the CLIP paper reports it";

/** Writes results.json, predictions.csv and report.html into a folder, each whole. */
export async function saveMultiLabel(
  folder: string,
  data: Dataset,
  result: MultiLabelResult,
  manifest: RunManifest,
): Promise<SavedMultiLabel> {
  const files: SavedMultiLabel = {
    results: join(folder, "results.json"),
    predictions: join(folder, "predictions.csv"),
    report: join(folder, "report.html"),
  };
  const { multiLabel: metrics, skipped } = result;
  await writeFileWhole(files.results, `${JSON.stringify({ manifest, metrics, skipped }, null, 2)}\n`);
  await writeFileWhole(files.predictions, predictionsCsv(data, result));
  await writeFileWhole(files.report, await pageOf(data, result, manifest));
  return files;
}

/** A line for each image: its classes, separated by "|", and its cosine with each class. */
function predictionsCsv(data: Dataset, { predictions }: MultiLabelResult): string {
  const head = ["index", "image", "true", ...data.classes.map((name) => `cosine ${name}`)];
  const rows = predictions.map(({ index, name, cosines }) => {
    return [
      index,
      name,
      data
        .labelsAt(index)
        .map((id) => data.classes[id])
        .join("|"),
      ...cosines,
    ];
  });
  return csvText([head, ...rows]);
}

/** The metrics with what each means, each class, and where the files are. */
export function multiLabelText(
  { multiLabel, skipped, prompts }: MultiLabelResult,
  files: SavedMultiLabel,
): string {
  const { meanAveragePrecision: mean, perClass, images } = multiLabel;
  const width = Math.max(...perClass.map(({ label }) => label.length));
  return [
    `Prompt: "${prompts.templates[0]}" (${prompts.source})`,
    "",
    `Mean average precision: ${percent(mean.none)}  of ${images} images; ${PLAIN}`,
    `11-point:               ${percent(mean["11-point"])}  ${POINTS}`,
    "",
    ...perClass.map(({ label, images: count, averagePrecision }) => {
      const found = percent(averagePrecision.none).padStart(7);
      return `${label.padEnd(width)}  ${found}  ${String(count).padStart(6)} images`;
    }),
    ...skippedLines(skipped),
    "",
    `Saved: ${Object.values(files).join(", ")}`,
  ].join("\n");
}

async function pageOf(data: Dataset, result: MultiLabelResult, manifest: RunManifest): Promise<string> {
  const { multiLabel, skipped } = result;
  const { meanAveragePrecision: mean, perClass } = multiLabel;
  const figures = [
    { name: "Mean average precision", value: percent(mean.none), meaning: sentence(PLAIN) },
    { name: "11-point", value: percent(mean["11-point"]), meaning: sentence(POINTS) },
  ];
  const title = `${encode(manifest.model.name)} on ${encode(data.name)}`;
  const body = [
    `<h1>${title}</h1>`,
    `<p class="sub">${runHtml({ data, result, manifest })}</p>`,
    '<div class="figures">',
    ...figures.map(figureHtml),
    "</div>",
    `<h2>Classes</h2><p class="sub">Average precision of each class, the highest first.</p>${tableHtml(perClass)}`,
    skipped.length > 0 ? `<h2>Skipped</h2><pre>${encode(skippedLines(skipped).join("\n").trim())}</pre>` : "",
    manifestHtml(manifest),
  ].join("\n");
  return reportPage({ title, body });
}

const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

function tableHtml(classes: MultiLabelMetrics["perClass"]): string {
  const sorted = classes.toSorted((a, b) => b.averagePrecision.none - a.averagePrecision.none);
  const rows = sorted.map(({ label, images, averagePrecision }) => {
    const share = (100 * averagePrecision.none).toFixed(1);
    const bar = `<div class="bar"><i style="--share: ${share}%"></i>${percent(averagePrecision.none)}</div>`;
    const points = percent(averagePrecision["11-point"]);
    return `<tr><td>${encode(label)}</td><td>${bar}</td><td>${points}</td><td>${images}</td></tr>`;
  });
  const head = ["class", "average precision", "11-point", "images"]
    .map((name) => `<th>${name}</th>`)
    .join("");
  return `<div class="bars"><table><thead><tr>${head}</tr></thead><tbody>${rows.join("\n")}</tbody></table></div>`;
}
