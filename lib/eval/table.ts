import { encode } from "html-entities";
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
  /** results.json of the cell, with its manifest; relative to the table. */
  results: string;
}

/** What results.json of a cell holds. */
export interface SavedResults {
  manifest: RunManifest;
  metrics: Metrics;
}

export function tableCell(model: string, dataset: string, { metrics: m, manifest }: SavedResults, results: string): TableCell {
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
    results,
  };
}

const percent = (x: number) => `${(100 * x).toFixed(2)} %`;

/** Models down, data sets across: accuracy with its interval. */
function grid(cells: readonly TableCell[]): { head: string[]; rows: string[][] } {
  const datasets = [...new Set(cells.map((c) => c.dataset))];
  const models = [...new Set(cells.map((c) => c.model))];
  const one = (model: string, dataset: string) => {
    const c = cells.find((x) => x.model === model && x.dataset === dataset);
    return c ? `${percent(c.accuracy)} (${percent(c.low)} to ${percent(c.high)})` : "";
  };
  return {
    head: ["model", ...datasets.map((d) => `${d} (${cells.find((c) => c.dataset === d)!.pictures})`)],
    rows: models.map((m) => [m, ...datasets.map((d) => one(m, d))]),
  };
}

export function tableMarkdown(cells: readonly TableCell[]): string {
  const { head, rows } = grid(cells);
  const line = (row: string[]) => `| ${row.map((c) => c.replaceAll("|", "\\|")).join(" | ")} |`;
  return [
    line(head),
    line(head.map(() => "---")),
    ...rows.map(line),
    "",
    "Zero-shot accuracy with its 95 % interval (Wilson); the number of pictures is in brackets.",
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
    "results",
  ] as const;
  return [columns.join(","), ...cells.map((c) => columns.map((k) => csvCell(c[k])).join(",")), ""].join("\n");
}

export function tableHtml(cells: readonly TableCell[], style: string): string {
  const { head, rows } = grid(cells);
  const datasets = [...new Set(cells.map((c) => c.dataset))];
  const body = rows.map(([model, ...values]) => {
    const links = values.map((v, i) => {
      const cell = cells.find((c) => c.model === model && c.dataset === datasets[i]);
      return `<td>${cell ? `<a href="${encode(encodeURI(cell.results.replace(/results\.json$/, "report.html")))}">${encode(v)}</a>` : ""}</td>`;
    });
    return `<tr><td>${encode(model)}</td>${links.join("")}</tr>`;
  });
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Zero-shot accuracy: torchclip</title><style>${style}a { color: inherit; }</style></head><body>
<h1>Zero-shot accuracy</h1><p class="sub">With its 95 % interval (Wilson); the number of pictures is in brackets. Each figure leads to its report.</p>
<div class="scroll"><table><thead><tr>${head.map((h) => `<th>${encode(h)}</th>`).join("")}</tr></thead><tbody>${body.join("")}</tbody></table></div></body></html>
`;
}
