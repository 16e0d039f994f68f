import { createHash } from "node:crypto";
import { encode } from "html-entities";
import type { Dataset } from "../datasets/dataset.js";
import type { ClassMetrics, Interval } from "../eval/metrics.js";
import type { RunManifest } from "../eval/run-manifest.js";
import type { ZeroShotResult } from "../eval/zero-shot.js";
import { confusionChart, probabilityChart, reliabilityChart, rocChart } from "./charts.js";
import { fontFaces } from "./fonts.js";
import { galleryHtml, type Shown } from "./gallery.js";
import { SCRIPT, scriptJson } from "./script.js";
import { REPORT_STYLE, STYLE } from "./style.js";
import { thresholdTable } from "./thresholds.js";

export interface ReportParts {
  data: Dataset;
  result: ZeroShotResult;
  manifest: RunManifest;
  examplePng: Buffer;
  exampleText: string;
  /** The images of the gallery. */
  shown: readonly Shown[];
}

/**
 * One self-contained page: no request, and no script but its own. Everything that comes from outside is
 * escaped.
 */
export async function reportHtml(parts: ReportParts): Promise<string> {
  const { data, result, manifest, shown } = parts;
  const autoRotate = manifest.preprocessing.exifOrientation === "applied";
  const title = `${encode(manifest.model.name)} on ${encode(data.name)}`;
  const prompts = result.prompts.templates.map((t) => `“${encode(t)}”`).join(", ");
  const body = `<h1>${title}</h1>
<p class="sub">Zero-shot, split ${encode(data.split)}, ${result.metrics.count} images, ${data.classes.length} classes · ${encode(manifest.device)}, ${encode(manifest.precision)} · prompts ${prompts}</p>
<div class="figures">${figures(parts)}</div>
<h2>Images</h2><p class="sub">Bold: the predicted class with its probability; green is right, red is wrong.</p>
${await galleryHtml(data, shown, autoRotate)}
<h2>Threshold</h2><p class="sub">One class against all others: an image counts as found where the class has at least this probability.</p>
${thresholdHtml(data)}
<h2>Charts</h2><div class="charts">${await chartsHtml(parts)}</div>
<h2>Classes</h2><p class="sub">A click on a heading sorts.</p>${classTable(result.metrics.perClass)}
<h2>One image</h2><p class="sub">With the classes' probabilities, as the command prints them.</p>
<div class="pair"><img alt="example image with its true class" src="data:image/png;base64,${parts.examplePng.toString("base64")}"><pre>${encode(parts.exampleText)}</pre></div>
${skippedHtml(result)}
<details><summary>Manifest of the run</summary><pre>${encode(JSON.stringify(manifest, null, 2))}</pre></details>
<script type="application/json" id="data">${scriptJson({ thresholds: thresholdTable(result) })}</script>
<script>${SCRIPT}</script>`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${contentPolicy()}">
<title>${title}: torchclip report</title><style>${STYLE}${REPORT_STYLE}${await fontFaces(body)}</style></head><body>
${body}
</body></html>
`;
}

function contentPolicy(): string {
  const hash = createHash("sha256").update(SCRIPT).digest("base64");
  return `default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; script-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
}

interface Figure {
  name: string;
  value: string;
  meaning: string;
  interval?: string;
}

function figures({ data, result }: ReportParts): string {
  const { metrics: m } = result;
  const all: Figure[] = [
    {
      name: "Accuracy",
      value: percent(m.accuracy),
      meaning: "Share of images that got their true class.",
      interval: range(m.accuracyInterval, percent),
    },
    {
      name: "Precision",
      value: percent(m.macro.precision),
      meaning: "Of the images given a class, the share that belong to it; mean over classes.",
    },
    {
      name: "Recall",
      value: percent(m.macro.recall),
      meaning: "Of a class's images, the share that was found; mean over classes.",
    },
    {
      name: "F1",
      value: percent(m.macro.f1),
      meaning: "Harmonic mean of precision and recall; mean over classes.",
      interval: range(m.macro.f1Interval, percent),
    },
  ];
  if (m.binary) {
    const plain = (x: number) => x.toFixed(3);
    const [other, positive] = data.classes;
    all.push(
      {
        name: "ROC AUC",
        value: plain(m.binary.rocAuc),
        meaning: `Chance that a random “${positive}” image scores above a random “${other}” one.`,
        interval: range(m.binary.rocAucInterval, plain),
      },
      {
        name: "Average precision",
        value: plain(m.binary.averagePrecision),
        meaning: `Precision averaged over all thresholds for “${positive}”.`,
        interval: range(m.binary.averagePrecisionInterval, plain),
      },
    );
  }
  for (const { k, accuracy } of m.topK)
    if (k > 1 && k < data.classes.length)
      all.push({
        name: `Top-${k}`,
        value: percent(accuracy),
        meaning: `Share of images with their true class among the ${k} most likely.`,
      });
  all.push({
    name: "Calibration error",
    value: percent(m.calibration.ece),
    meaning: "Mean gap between the probability shown and how often it was right (15 bins).",
  });
  return all.map((figure, i) => figureHtml(figure, i === 0)).join("");
}

function figureHtml({ name, value, meaning, interval }: Figure, first: boolean): string {
  const lines = [interval ? `<span>${encode(interval)}</span>` : "", `<span>${encode(meaning)}</span>`].join(
    "",
  );
  return `<div class="figure${first ? " first" : ""}"><span>${name}</span><b>${value}</b>${lines}</div>`;
}

function range(i: Interval, show: (x: number) => string): string {
  return `95 % interval ${show(i.low)} to ${show(i.high)} (${i.method === "wilson" ? "Wilson" : "bootstrap"})`;
}

function percent(x: number): string {
  return `${(100 * x).toFixed(2)}\u00a0%`;
}

async function chartsHtml({ data, result }: ReportParts): Promise<string> {
  const { metrics: m } = result;
  const charts: [string, string, string][] = [
    [
      "Confusion matrix",
      "Each row is a true class; the colour is the share of its images that got the column's class.",
      await confusionChart(m, data.classes),
    ],
    [
      "Probabilities",
      "The probability of the predicted class, of images that were right and wrong.",
      await probabilityChart(result),
    ],
    [
      "Reliability",
      "A point on the diagonal: the probability shown is as often right as it says.",
      await reliabilityChart(m),
    ],
  ];
  if (m.binary)
    charts.push([
      "ROC curve",
      `Trade-off between finding “${encode(data.classes[1])}” and false alarms as the threshold moves.`,
      await rocChart(result),
    ]);
  return charts
    .map(([title, meaning, svg]) => `<div class="chart"><h3>${title}</h3><p>${meaning}</p>${svg}</div>`)
    .join("");
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
  const cell = (id: string, name: string) => `<div><dt>${name}</dt><dd id="${id}"></dd></div>`;
  const tick = (share: number) => {
    const text = share.toFixed(2).replace(/\.?0+$/, "") || "0";
    return `<text class="soft" x="${50 + 350 * share}" y="298" text-anchor="middle">${text}</text><text class="soft" x="42" y="${284 - 260 * share}" text-anchor="end">${text}</text><path d="M50 ${280 - 260 * share}h350M${50 + 350 * share} 20v260" stroke="#8b949e33"/>`;
  };
  return `<div class="threshold"><div class="chart"><div class="filters"><label>class <select id="class">${options}</select></label></div>
<label for="slider">threshold <b id="t"></b></label><input type="range" id="slider" min="0" max="${steps}" value="${steps / 2}">
<dl>${cell("precision", "precision")}${cell("recall", "recall")}${cell("f1", "F1")}${cell("found", "found")}${cell("false", "of them false")}${cell("missed", "missed")}</dl></div>
<div class="chart"><h3>Precision and recall</h3><svg viewBox="0 0 420 330" role="img" aria-label="precision-recall curve of the chosen class" font-size="12" font-family="system-ui, sans-serif">
${[0, 0.25, 0.5, 0.75, 1].map(tick).join("")}<text class="soft" x="225" y="320" text-anchor="middle">recall</text><text class="soft" transform="translate(12 150) rotate(-90)" text-anchor="middle">precision</text>
<polyline id="curve" fill="none" stroke="#3b82f6" stroke-width="2.5"/><circle id="dot" r="6" fill="#f59e0b"/></svg></div></div>`;
}

function classTable(classes: readonly ClassMetrics[]): string {
  const heads = ["class", "recall", "precision", "F1", "images", "predicted"];
  const head = heads
    .map((name, i) => `<th><button type="button" data-column="${i}">${name}</button></th>`)
    .join("");
  const bar = (x: number) =>
    `<td data-value="${x}"><div class="bar"><i style="--share: ${(100 * x).toFixed(1)}%"></i>${percent(x)}</div></td>`;
  const plain = (x: number, text = String(x)) => `<td data-value="${x}">${text}</td>`;
  const rows = classes.map(
    (c) =>
      `<tr><td data-value="${encode(c.name)}">${encode(c.name)}</td>${bar(c.recall)}${bar(c.precision)}${plain(c.f1, percent(c.f1))}${plain(c.support)}${plain(c.predicted)}</tr>`,
  );
  return `<div class="bars"><table><thead><tr>${head}</tr></thead><tbody id="classes">${rows.join("\n")}</tbody></table></div>`;
}

function skippedHtml({ skipped }: ZeroShotResult): string {
  if (skipped.length === 0) return "";
  const lines = skipped.map((s) => encode(`${s.name}: ${s.message}`)).join("\n");
  return `<h2>Skipped</h2><p class="sub">${skipped.length} images could not be read and are in no figure above.</p><pre>${lines}</pre>`;
}
