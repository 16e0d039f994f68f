import { encode } from "html-entities";
import { findModel } from "../models/catalog/registry.js";
import { csvCell } from "../util/csv.js";
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
  const datasets = [...new Set(cells.map((c) => c.dataset))];
  const models = [...new Set(cells.map((c) => c.model))];
  const of = (model: string, dataset: string) =>
    cells.find((c) => c.model === model && c.dataset === dataset);
  const highest = datasets.map((d) =>
    Math.max(...cells.filter((c) => c.dataset === d).map((c) => c.accuracy)),
  );
  // Means and speeds can be compared only where every data set is there.
  const complete = (model: string, value: (cell: TableCell) => number) => {
    const own = datasets.map((d) => of(model, d));
    return own.includes(undefined) ? NaN : mean(own.map((cell) => value(cell!)));
  };
  const means = models.map((m) => complete(m, (c) => c.accuracy));
  const speeds = models.map((m) => complete(m, (c) => c.imagesPerSecond));
  const several = models.length > 1;
  return {
    head: [
      "model",
      "parameters",
      ...datasets.map((d) => `${d} (${cells.find((c) => c.dataset === d)!.images})`),
      "mean",
      "images/s",
    ],
    rows: models.map((model, i) => {
      const own = cells.filter((c) => c.model === model);
      return {
        model,
        parameters: millions(own.find((c) => c.parameters !== undefined)?.parameters),
        cells: datasets.map((d, j) => {
          const cell = of(model, d);
          const text = cell
            ? `${percent(cell.accuracy)} (${percent(cell.low)} to ${percent(cell.high)})`
            : "";
          return { cell, text, best: several && cell?.accuracy === highest[j] };
        }),
        mean: {
          text: Number.isNaN(means[i]) ? "" : percent(means[i]),
          best: several && means[i] === largest(means),
        },
        speed: {
          text: mean(own.map((c) => c.imagesPerSecond)).toFixed(1),
          best: several && speeds[i] === largest(speeds),
        },
      };
    }),
  };
}

function millions(parameters: number | undefined): string {
  return parameters === undefined ? "" : `${(parameters / 1e6).toFixed(parameters < 1e7 ? 1 : 0)} M`;
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
  return [columns.join(","), ...cells.map((c) => columns.map((k) => csvCell(c[k])).join(",")), ""].join("\n");
}

export function tableHtml(cells: readonly TableCell[], style: string): string {
  const { head, rows } = grid(cells);
  const bold = ({ text, best }: Shown) => (best ? `<b>${encode(text)}</b>` : encode(text));
  const value = ({ cell, ...shown }: Row["cells"][number]) => {
    if (!cell) return "<td></td>";
    const report = encode(encodeURI(cell.results.replace(/results\.json$/, "report.html")));
    return `<td><a href="${report}">${bold(shown)}</a></td>`;
  };
  const body = rows.map((r) => {
    const figures = `${r.cells.map(value).join("")}<td>${bold(r.mean)}</td><td>${bold(r.speed)}</td>`;
    return `<tr><td>${encode(r.model)}</td><td>${r.parameters}</td>${figures}</tr>`;
  });
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Zero-shot accuracy: torchclip</title><style>${style}a { color: inherit; }</style></head><body>
<h1>Zero-shot accuracy</h1><p class="sub">${MEANING} Each figure leads to its report.</p>
<div class="scroll"><table><thead><tr>${head.map((h) => `<th>${encode(h)}</th>`).join("")}</tr></thead><tbody>${body.join("")}</tbody></table></div></body></html>
`;
}
