import type { ImageLimits } from "../images/types.js";
import { encode } from "html-entities";
import type { Dataset } from "../datasets/dataset.js";
import type { ClassMetrics, Interval, Metrics } from "../eval/metrics.js";
import type { RunManifest } from "../eval/run-manifest.js";
import type { ZeroShotResult } from "../eval/zero-shot.js";
import { confusionChart, probabilityChart, reliabilityChart, rocChart } from "./charts.js";
import { galleryHtml, type Shown } from "./gallery.js";
import { figureHtml, type Figure } from "./figure.js";
import { percent, reportPage } from "./page.js";
import { manifestHtml, runHtml } from "./run-html.js";
import { SCRIPT, scriptJson } from "./script.js";
import { thresholdTable } from "./thresholds.js";

export interface ReportParts {
  data: Dataset;
  result: ZeroShotResult;
  manifest: RunManifest;
  examplePng: Buffer;
  exampleText: string;
  /** The images of the gallery. */
  shown: readonly Shown[];
  /** The limits with which the run read images. */
  limits?: ImageLimits;
  /** Lines below the heading: how a classifier was fitted, and how it compares. */
  summary?: readonly string[];
}

/**
 * One self-contained page: no request, and no script but its own. Everything that comes from outside is
 * escaped.
 */
export async function reportHtml(parts: ReportParts): Promise<string> {
  const { data, manifest } = parts;
  const title = `${encode(manifest.model.name)} on ${encode(data.name)}`;
  const body = await bodyHtml(title, parts);
  return reportPage({ title, body, script: SCRIPT });
}

async function bodyHtml(title: string, parts: ReportParts): Promise<string> {
  const { data, result, manifest, shown, examplePng, exampleText, limits } = parts;
  const autoRotate = manifest.preprocessing.exifOrientation === "applied";
  const example = `data:image/png;base64,${examplePng.toString("base64")}`;
  const thresholds = thresholdTable(result);
  return [
    `<h1>${title}</h1>`,
    `<p class="sub">${runHtml(parts)}</p>`,
    summaryHtml(parts),
    `<div class="figures">${figures(parts).map(figureHtml).join("")}</div>`,
    `<h2>Images</h2><p class="sub">${IMAGES}</p>`,
    await galleryHtml(data, shown, { ...limits, autoRotate }),
    `<h2>Threshold</h2><p class="sub">${THRESHOLD}</p>`,
    thresholdHtml(data),
    `<h2>Charts</h2><div class="charts">${await chartsHtml(parts)}</div>`,
    `<h2>Classes</h2><p class="sub">A click on a heading sorts.</p>${classTable(result.metrics.perClass)}`,
    `<h2>One image</h2><p class="sub">${ONE_IMAGE}</p>`,
    `<div class="pair"><img alt="example image with its true class" src="${example}">` +
      `<pre>${encode(exampleText)}</pre></div>`,
    skippedHtml(result),
    manifestHtml(manifest),
    `<script type="application/json" id="data">${scriptJson({ thresholds })}</script>`,
    `<script>${SCRIPT}</script>`,
  ].join("\n");
}

const IMAGES = "Bold: the predicted class with its probability; green is right, red is wrong.";
const THRESHOLD =
  "One class against all others: an image counts as found where the class has at least this probability.";
const ONE_IMAGE = "With the classes' probabilities, as the command prints them.";

function summaryHtml({ summary = [] }: ReportParts): string {
  return summary.length === 0 ? "" : `<pre>${encode(summary.join("\n"))}</pre>`;
}

function figures({ data, result }: ReportParts): Figure[] {
  const { metrics } = result;
  const { classes } = data;
  return [
    ...averageFigures(metrics),
    ...(metrics.binary ? binaryFigures(metrics.binary, classes) : []),
    ...metrics.topK
      .filter(({ k }) => k > 1 && k < classes.length)
      .map(({ k, accuracy }) => ({
        name: `Top-${k}`,
        value: percent(accuracy),
        meaning: `Share of images with their true class among the ${k} most likely.`,
      })),
    {
      name: "Calibration error",
      value: percent(metrics.calibration.ece),
      meaning: "Mean gap between the probability shown and how often it was right (15 bins).",
    },
  ];
}

function averageFigures({ accuracy, accuracyInterval, macro }: Metrics): Figure[] {
  return [
    {
      name: "Accuracy",
      value: percent(accuracy),
      meaning: "Share of images that got their true class.",
      interval: range(accuracyInterval, percent),
    },
    {
      name: "Precision",
      value: percent(macro.precision),
      meaning: "Of the images given a class, the share that belong to it; mean over classes.",
    },
    {
      name: "Recall",
      value: percent(macro.recall),
      meaning: "Of a class's images, the share that was found; mean over classes.",
    },
    {
      name: "F1",
      value: percent(macro.f1),
      meaning: "Harmonic mean of precision and recall; mean over classes.",
      interval: range(macro.f1Interval, percent),
    },
  ];
}

function binaryFigures(
  binary: NonNullable<Metrics["binary"]>,
  [other, positive]: readonly string[],
): Figure[] {
  const plain = (x: number) => x.toFixed(3);
  return [
    {
      name: "ROC AUC",
      value: plain(binary.rocAuc),
      meaning: `Chance that a random “${positive}” image scores above a random “${other}” one.`,
      interval: range(binary.rocAucInterval, plain),
    },
    {
      name: "Average precision",
      value: plain(binary.averagePrecision),
      meaning: `Precision averaged over all thresholds for “${positive}”.`,
      interval: range(binary.averagePrecisionInterval, plain),
    },
  ];
}

function range({ low, high, method }: Interval, show: (x: number) => string): string {
  return `95 % interval ${show(low)} to ${show(high)} (${method === "wilson" ? "Wilson" : "bootstrap"})`;
}

async function chartsHtml({ data, result }: ReportParts): Promise<string> {
  const { metrics } = result;
  const charts = [
    chartHtml(
      "Confusion matrix",
      "Each row is a true class; the colour is the share of its images that got the column's class.",
      await confusionChart(metrics, data.classes),
    ),
    chartHtml(
      "Probabilities",
      "The probability of the predicted class, of images that were right and wrong.",
      await probabilityChart(result),
    ),
    chartHtml(
      "Reliability",
      "A point on the diagonal: the probability shown is as often right as it says.",
      await reliabilityChart(metrics),
    ),
  ];
  if (metrics.binary) {
    const positive = `“${encode(data.classes[1])}”`;
    const meaning = `Trade-off between finding ${positive} and false alarms as the threshold moves.`;
    charts.push(chartHtml("ROC curve", meaning, await rocChart(result)));
  }
  return charts.join("");
}

function chartHtml(title: string, meaning: string, svg: string): string {
  return `<div class="chart"><h3>${title}</h3><p>${meaning}</p>${svg}</div>`;
}

/**
 * The slider, its figures, and the precision-recall curve of the chosen class; the page's script fills them.
 */
function thresholdHtml(data: Dataset): string {
  // Of two classes the second is the positive one, as in the metrics.
  const chosen = data.classes.length === 2 ? 1 : 0;
  const options = data.classes
    .map((name, c) => `<option value="${c}"${c === chosen ? " selected" : ""}>${encode(name)}</option>`)
    .join("");
  const steps = data.classes.length <= 200 ? 100 : 20;
  const cells: [id: string, name: string][] = [
    ["precision", "precision"],
    ["recall", "recall"],
    ["f1", "F1"],
    ["found", "found"],
    ["false", "of them false"],
    ["missed", "missed"],
  ];
  const list = cells.map(([id, name]) => `<div><dt>${name}</dt><dd id="${id}"></dd></div>`).join("");
  const filter = `<div class="filters"><label>class <select id="class">${options}</select></label></div>`;
  const slider = `<input type="range" id="slider" min="0" max="${steps}" value="${steps / 2}">`;
  return [
    `<div class="threshold"><div class="chart">${filter}`,
    `<label for="slider">threshold <b id="t"></b></label>${slider}`,
    `<dl>${list}</dl></div>`,
    `<div class="chart"><h3>Precision and recall</h3>${curveHtml()}</div></div>`,
  ].join("\n");
}

/** The axes of the curve, 350 × 260 with the origin at (50, 280); `lib/report/script.ts` draws into them. */
function curveHtml(): string {
  const label = 'aria-label="precision-recall curve of the chosen class"';
  const font = 'font-size="12" font-family="system-ui, sans-serif"';
  return [
    `<svg viewBox="0 0 420 330" role="img" ${label} ${font}>`,
    [0, 0.25, 0.5, 0.75, 1].map(tickHtml).join("") +
      `<text class="soft" x="225" y="320" text-anchor="middle">recall</text>` +
      `<text class="soft" transform="translate(12 150) rotate(-90)" text-anchor="middle">precision</text>`,
    `<polyline id="curve" fill="none" stroke="#3b82f6" stroke-width="2.5"/>` +
      `<circle id="dot" r="6" fill="#f59e0b"/></svg>`,
  ].join("\n");
}

/** A share on both axes, with its lines. */
function tickHtml(share: number): string {
  const text = share.toFixed(2).replace(/\.?0+$/, "") || "0";
  const [x, y] = [50 + 350 * share, 280 - 260 * share];
  return [
    `<text class="soft" x="${x}" y="298" text-anchor="middle">${text}</text>`,
    `<text class="soft" x="42" y="${284 - 260 * share}" text-anchor="end">${text}</text>`,
    `<path d="M50 ${y}h350M${x} 20v260" stroke="#8b949e33"/>`,
  ].join("");
}

function classTable(classes: readonly ClassMetrics[]): string {
  const heads = ["class", "recall", "precision", "F1", "images", "predicted"];
  const head = heads
    .map((name, i) => `<th><button type="button" data-column="${i}">${name}</button></th>`)
    .join("");
  const rows = classes.map(classRow).join("\n");
  const body = `<tbody id="classes">${rows}</tbody>`;
  return `<div class="bars"><table><thead><tr>${head}</tr></thead>${body}</table></div>`;
}

function classRow({ name, recall, precision, f1, support, predicted }: ClassMetrics): string {
  const cell = (value: number | string, content: number | string) =>
    `<td data-value="${value}">${content}</td>`;
  const bar = (x: number) => {
    const line = `<i style="--share: ${(100 * x).toFixed(1)}%"></i>`;
    return cell(x, `<div class="bar">${line}${percent(x)}</div>`);
  };
  return [
    `<tr>${cell(encode(name), encode(name))}`,
    bar(recall),
    bar(precision),
    cell(f1, percent(f1)),
    cell(support, support),
    `${cell(predicted, predicted)}</tr>`,
  ].join("");
}

function skippedHtml({ skipped }: ZeroShotResult): string {
  if (skipped.length === 0) return "";
  const count = `${skipped.length} images could not be read and are in no figure above.`;
  const lines = skipped.map(({ name, message }) => encode(`${name}: ${message}`)).join("\n");
  return `<h2>Skipped</h2><p class="sub">${count}</p><pre>${lines}</pre>`;
}
