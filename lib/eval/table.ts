import { encode } from "html-entities";
import { findModel } from "../models/catalog/registry.js";
import { millions } from "../models/catalog/size.js";
import { csvText } from "../util/csv.js";
import type { Metrics } from "./metrics.js";
import type { RunManifest } from "./run-manifest.js";

/** One model on one data set. */
export interface TableCell {
  model: string;
  dataset: string;
  split: string;
  images: number;
  skipped: number;
  accuracy: number;
  /** 95 %, Wilson. */
  low: number;
  high: number;
  recall: number;
  /** Absent for sets of fewer than 5 classes. */
  top5?: number;
  device: string;
  precision: string;
  seconds: number;
  /**
   * Parameters of both towers: counted by the run; in results of earlier versions those that are published
   * for the name.
   */
  parameters?: number;
  /** Images a second of the whole evaluation, files and text prompts included. */
  imagesPerSecond: number;
  /** results.json of the cell, with its manifest; relative to the table. */
  results: string;
}

/** What results.json of a cell holds. */
export interface SavedResults {
  manifest: RunManifest;
  metrics: Metrics;
}

export function tableCell(
  model: string,
  dataset: string,
  { metrics: m, manifest }: SavedResults,
  results: string,
): TableCell {
  const parameters = manifest.model.parameters ?? findModel(model)?.parameters;
  const top5 = m.topK.find((t) => t.k === 5)?.accuracy;
  return {
    model,
    dataset,
    split: manifest.dataset.split,
    images: manifest.counts.evaluated,
    skipped: manifest.counts.skipped,
    accuracy: m.accuracy,
    low: m.accuracyInterval.low,
    high: m.accuracyInterval.high,
    recall: m.macro.recall,
    ...(top5 === undefined ? {} : { top5 }),
    device: manifest.device,
    precision: manifest.precision,
    seconds: manifest.seconds.total,
    ...(parameters === undefined ? {} : { parameters }),
    imagesPerSecond: manifest.counts.images / manifest.seconds.total,
    results,
  };
}

const percent = (x: number) => `${(100 * x).toFixed(2)} %`;

interface Grid {
  head: string[];
  rows: Row[];
}

/** What a column shows, and whether it is the best of its column. */
interface Shown {
  text: string;
  best: boolean;
}

interface Row {
  model: string;
  parameters: string;
  cells: (Shown & { cell?: TableCell })[];
  mean: Shown;
  speed: Shown;
}

/**
 * Models down, data sets across: accuracy with its interval, the mean over data sets, the speed; the best of
 * each marked.
 */
function grid(cells: readonly TableCell[]): Grid {
  const datasets = [...new Set(cells.map((cell) => cell.dataset))];
  const models = [...new Set(cells.map((cell) => cell.model))];
  const columns = datasets.map((dataset) => cells.filter((cell) => cell.dataset === dataset));
  const heads = columns.map(([{ dataset, images }]) => `${dataset} (${images})`);
  const summaries = models.map((model) => summaryOf(model, columns));
  const highest = columns.map((column) => largest(column.map(({ accuracy }) => accuracy)));
  const bestMean = largest(summaries.map((summary) => summary.mean));
  const bestSpeed = largest(summaries.map((summary) => summary.speed));
  const isBest = (value: number | undefined, best: number) => models.length > 1 && value === best;
  const rows = summaries.map(({ model, own, mean, speed, shownSpeed }): Row => {
    const shown = own.map((cell, i) => ({
      cell,
      text: cell ? accuracyText(cell) : "",
      best: isBest(cell?.accuracy, highest[i]),
    }));
    return {
      model,
      parameters: millions(own.find((cell) => cell?.parameters !== undefined)?.parameters),
      cells: shown,
      mean: {
        text: Number.isNaN(mean) ? "" : percent(mean),
        best: isBest(mean, bestMean),
      },
      speed: {
        text: shownSpeed.toFixed(1),
        best: isBest(speed, bestSpeed),
      },
    };
  });
  return { head: ["model", "parameters", ...heads, "mean", "images/s"], rows };
}

function accuracyText({ accuracy, low, high }: TableCell): string {
  return `${percent(accuracy)} (${percent(low)} to ${percent(high)})`;
}

interface Summary {
  model: string;
  /** A cell for each data set. */
  own: (TableCell | undefined)[];
  /** Of all data sets; NaN where one is missing, as means and speeds can then not be compared. */
  mean: number;
  speed: number;
  /** Images a second over the data sets that are there. */
  shownSpeed: number;
}

function summaryOf(model: string, columns: readonly TableCell[][]): Summary {
  const own = columns.map((column) => column.find((cell) => cell.model === model));
  const there = own.filter((cell) => cell !== undefined);
  const isComplete = there.length === own.length;
  const shownSpeed = mean(there.map((cell) => cell.imagesPerSecond));
  return {
    model,
    own,
    mean: isComplete ? mean(there.map((cell) => cell.accuracy)) : NaN,
    speed: isComplete ? shownSpeed : NaN,
    shownSpeed,
  };
}

/** The largest of the values that are numbers. */
function largest(values: readonly number[]): number {
  return Math.max(...values.filter((x) => !Number.isNaN(x)));
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

const MEANING =
  "Zero-shot accuracy with its 95 % interval (Wilson); the number of images is in brackets. " +
  "Bold: the best of the column; of mean and images/s among the models that have every data set. " +
  "Images/s: the whole evaluation, files and prompts included.";

export function tableMarkdown(cells: readonly TableCell[]): string {
  const { head, rows } = grid(cells);
  const escape = (text: string) => text.replaceAll("|", "\\|");
  const line = (row: string[]) => `| ${row.join(" | ")} |`;
  const bold = ({ text, best }: Shown) => (best ? `**${text}**` : text);
  return [
    line(head.map(escape)),
    line(head.map((_, i) => (i === 0 ? "---" : "---:"))),
    ...rows.map((r) =>
      line([escape(r.model), r.parameters, ...r.cells.map(bold), bold(r.mean), bold(r.speed)]),
    ),
    "",
    MEANING,
    "",
  ].join("\n");
}

/** One line a cell, with all that the other forms leave out. */
export function tableCsv(cells: readonly TableCell[]): string {
  const columns = [
    "model",
    "dataset",
    "split",
    "images",
    "skipped",
    "accuracy",
    "low",
    "high",
    "recall",
    "top5",
    "device",
    "precision",
    "seconds",
    "parameters",
    "imagesPerSecond",
    "results",
  ] as const;
  return csvText([columns, ...cells.map((c) => columns.map((k) => c[k]))]);
}

/** The table as a page in the style `style`; each figure is a link to its report. */
export function tableHtml(cells: readonly TableCell[], style: string): string {
  const { head, rows } = grid(cells);
  const heads = head.map((text) => `<th>${encode(text)}</th>`).join("");
  const body = rows.map(rowHtml).join("");
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">${headHtml(style)}</head><body>
<h1>Zero-shot accuracy</h1><p class="sub">${MEANING} Each figure leads to its report.</p>
<div class="scroll"><table><thead><tr>${heads}</tr></thead><tbody>${body}</tbody></table></div></body></html>
`;
}

function headHtml(style: string): string {
  return [
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    "<title>Zero-shot accuracy: torchclip</title>",
    `<style>${style}a { color: inherit; }</style>`,
  ].join("");
}

function rowHtml({ model, parameters, cells, mean, speed }: Row): string {
  const bold = ({ text, best }: Shown) => (best ? `<b>${encode(text)}</b>` : encode(text));
  const link = ({ cell, ...shown }: Row["cells"][number]) => {
    if (!cell) return "";
    const report = encode(encodeURI(cell.results.replace(/results\.json$/, "report.html")));
    return `<a href="${report}">${bold(shown)}</a>`;
  };
  const columns = [encode(model), parameters, ...cells.map(link), bold(mean), bold(speed)];
  return `<tr>${columns.map((column) => `<td>${column}</td>`).join("")}</tr>`;
}
