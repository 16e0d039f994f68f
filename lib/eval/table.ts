import { encode } from "html-entities";
import { findModel } from "../models/registry.js";
import { csvCell } from "../util/csv.js";
import type { RunManifest } from "./manifest.js";
import type { Metrics } from "./metrics.js";

/** One model on one data set. */
export interface TableCell {
  model: string;
  dataset: string;
  split: string;
  pictures: number;
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
  /** Parameters of both towers; absent for a model that is not known by name. */
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

export function tableCell(model: string, dataset: string, { metrics: m, manifest }: SavedResults, results: string): TableCell {
  const parameters = findModel(model)?.parameters;
  const top5 = m.topK.find((t) => t.k === 5)?.accuracy;
  return {
    model,
    dataset,
    split: manifest.dataset.split,
    pictures: manifest.counts.evaluated,
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
    imagesPerSecond: manifest.counts.pictures / manifest.seconds.total,
    results,
  };
}

const percent = (x: number) => `${(100 * x).toFixed(2)} %`;

interface Grid {
  head: string[];
  rows: { model: string; parameters: string; speed: string; mean: string; bestMean: boolean; cells: { cell?: TableCell; text: string; best: boolean }[] }[];
}

/** Models down, data sets across: accuracy with its interval, the best of each data set marked, the mean over data sets. */
function grid(cells: readonly TableCell[]): Grid {
  const datasets = [...new Set(cells.map((c) => c.dataset))];
  const models = [...new Set(cells.map((c) => c.model))];
  const of = (model: string, dataset: string) => cells.find((c) => c.model === model && c.dataset === dataset);
  const highest = datasets.map((d) => Math.max(...cells.filter((c) => c.dataset === d).map((c) => c.accuracy)));
  // A mean is comparable only where every data set is there.
  const means = models.map((m) => mean(datasets.map((d) => of(m, d)?.accuracy ?? NaN)));
  const bestMean = Math.max(...means.filter((x) => !Number.isNaN(x)));
  const several = models.length > 1;
  return {
    head: ["model", "parameters", ...datasets.map((d) => `${d} (${cells.find((c) => c.dataset === d)!.pictures})`), "mean", "images/s"],
    rows: models.map((model, i) => {
      const own = cells.filter((c) => c.model === model);
      const parameters = own.find((c) => c.parameters !== undefined)?.parameters;
      return {
        model,
        parameters: parameters === undefined ? "" : `${(parameters / 1e6).toFixed(parameters < 1e7 ? 1 : 0)} M`,
        speed: mean(own.map((c) => c.imagesPerSecond)).toFixed(1),
        mean: Number.isNaN(means[i]) ? "" : percent(means[i]),
        bestMean: several && means[i] === bestMean,
        cells: datasets.map((d, j) => {
          const cell = of(model, d);
          return {
            cell,
            text: cell ? `${percent(cell.accuracy)} (${percent(cell.low)} to ${percent(cell.high)})` : "",
            best: several && cell?.accuracy === highest[j],
          };
        }),
      };
    }),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

const MEANING =
  "Zero-shot accuracy with its 95 % interval (Wilson); the number of images is in brackets. Bold: the best of the column. Images/s: the whole evaluation, files and prompts included.";

export function tableMarkdown(cells: readonly TableCell[]): string {
  const { head, rows } = grid(cells);
  const escape = (text: string) => text.replaceAll("|", "\\|");
  const line = (row: string[]) => `| ${row.join(" | ")} |`;
  const bold = (text: string, best: boolean) => (best ? `**${text}**` : text);
  return [
    line(head.map(escape)),
    line(head.map((_, i) => (i === 0 ? "---" : "---:"))),
    ...rows.map((r) => line([escape(r.model), r.parameters, ...r.cells.map((c) => bold(c.text, c.best)), bold(r.mean, r.bestMean), r.speed])),
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
    "pictures",
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
  const bold = (text: string, best: boolean) => (best ? `<b>${text}</b>` : text);
  const value = ({ cell, text, best }: Grid["rows"][number]["cells"][number]) => {
    if (!cell) return "<td></td>";
    const report = encode(encodeURI(cell.results.replace(/results\.json$/, "report.html")));
    return `<td><a href="${report}">${bold(encode(text), best)}</a></td>`;
  };
  const body = rows.map(
    (r) => `<tr><td>${encode(r.model)}</td><td>${r.parameters}</td>${r.cells.map(value).join("")}<td>${bold(r.mean, r.bestMean)}</td><td>${r.speed}</td></tr>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Zero-shot accuracy: torchclip</title><style>${style}a { color: inherit; }</style></head><body>
<h1>Zero-shot accuracy</h1><p class="sub">${MEANING} Each figure leads to its report.</p>
<div class="scroll"><table><thead><tr>${head.map((h) => `<th>${encode(h)}</th>`).join("")}</tr></thead><tbody>${body.join("")}</tbody></table></div></body></html>
`;
}
