import { encode } from "html-entities";
import type { Dataset } from "../datasets/dataset.js";
import type { RunManifest } from "../eval/manifest.js";
import type { Interval } from "../eval/metrics.js";
import type { ZeroShotResult } from "../eval/zero-shot.js";
import { confusionChart, reliabilityChart, rocChart } from "./charts.js";

/** What the pages share; light and dark. */
export const STYLE = `
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --ground: #ffffff; --card: #f6f8fa; --line: #d1d9e0; --good: #1a7f37; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --ink: #f0f6fc; --soft: #9198a1; --ground: #0d1117; --card: #151b23; --line: #3d444d; --good: #3fb950; --bad: #f85149; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1060px; padding: 24px 16px 64px; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); }
h1 { font-size: 1.6rem; margin: 0 0 4px; } h2 { font-size: 1.2rem; margin: 36px 0 12px; } p.sub { color: var(--soft); margin: 0 0 16px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; }
.figure { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px; }
.figure b { display: block; font-size: 1.7rem; font-variant-numeric: tabular-nums; } .figure span { color: var(--soft); font-size: .85rem; display: block; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th, td { text-align: right; padding: 6px 12px; border-bottom: 1px solid var(--line); } th:first-child, td:first-child { text-align: left; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 16px; } .chart { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px; overflow-x: auto; min-width: 0; } .chart svg { max-width: 100%; height: auto; } .chart h3 { margin: 0 0 2px; font-size: 1rem; } .chart p { margin: 0 0 10px; color: var(--soft); font-size: .85rem; }
img { max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: 8px; background: #fff; } img.example { width: 360px; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px; overflow-x: auto; font-size: .8rem; }
.pair { display: flex; flex-wrap: wrap; gap: 20px; align-items: flex-start; } .pair pre { font-size: .95rem; margin: 0; }
`;

export interface ReportParts {
  data: Dataset;
  result: ZeroShotResult;
  manifest: RunManifest;
  examplePng: Buffer;
  exampleText: string;
  gridPng: Buffer;
}

/** One self-contained page: no script, no request. */
export async function reportHtml(parts: ReportParts): Promise<string> {
  const { data, result, manifest } = parts;
  const { metrics: m } = result;
  const confusion = await confusionChart(m, data.classes);
  const charts = [
    chart("Confusion matrix", "Each row is a true class; where its pictures went.", confusion),
    ...(m.binary
      ? [chart("ROC curve", `Trade-off between finding "${encode(data.classes[1])}" and false alarms as the threshold moves.`, await rocChart(result))]
      : []),
    chart("Reliability", "A point on the diagonal: the probability shown is as often right as it says.", await reliabilityChart(m)),
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${encode(manifest.model.name)} on ${encode(data.name)}: torchclip report</title><style>${STYLE}</style></head><body>
<h1>${encode(manifest.model.name)} on ${encode(data.name)}</h1>
<p class="sub">Zero-shot, split ${encode(data.split)}, ${m.count} pictures, ${data.classes.length} classes · ${encode(manifest.device)}, ${encode(manifest.precision)} · prompts ${result.prompts.templates.map((t) => `“${encode(t)}”`).join(", ")}</p>
<div class="figures">${figures(parts)}</div>
<h2>One picture</h2><div class="pair"><img class="example" alt="example picture with its true class" src="${png(parts.examplePng)}"><pre>${encode(parts.exampleText)}</pre></div>
<h2>Examples</h2><p class="sub">Green: predicted right. Red: predicted wrong.</p><img alt="grid of examples with predicted and true class" src="${png(parts.gridPng)}">
<h2>Plots</h2><div class="charts">${charts.join("")}</div>
<h2>Classes</h2><div class="scroll"><table><thead><tr><th>class</th><th>precision</th><th>recall</th><th>F1</th><th>pictures</th><th>predicted</th></tr></thead><tbody>
${m.perClass.map((c) => `<tr><td>${encode(c.name)}</td><td>${percent(c.precision)}</td><td>${percent(c.recall)}</td><td>${percent(c.f1)}</td><td>${c.support}</td><td>${c.predicted}</td></tr>`).join("\n")}
</tbody></table></div>
${result.skipped.length ? `<h2>Skipped</h2><p>${result.skipped.length} pictures could not be read and are in no figure above.</p><pre>${result.skipped.map((s) => encode(`${s.name}: ${s.message}`)).join("\n")}</pre>` : ""}
<h2>Manifest of the run</h2><div class="scroll"><pre>${encode(JSON.stringify(manifest, null, 2))}</pre></div>
</body></html>
`;
}

function figures({ data, result }: ReportParts): string {
  const { metrics: m } = result;
  const all: [string, string, string, string][] = [
    ["Accuracy", percent(m.accuracy), "Share of pictures that got their true class.", range(m.accuracyInterval, percent)],
    ["Precision", percent(m.macro.precision), "Of the pictures given a class, the share that belong to it; mean over classes.", ""],
    ["Recall", percent(m.macro.recall), "Of a class's pictures, the share that was found; mean over classes.", ""],
    ["F1", percent(m.macro.f1), "Harmonic mean of precision and recall; mean over classes.", range(m.macro.f1Interval, percent)],
  ];
  if (m.binary) {
    const plain = (x: number) => x.toFixed(3);
    all.push([
      "ROC AUC",
      plain(m.binary.rocAuc),
      `Chance that a random “${data.classes[1]}” picture scores above a random “${data.classes[0]}” one.`,
      range(m.binary.rocAucInterval, plain),
    ]);
    all.push([
      "Average precision",
      plain(m.binary.averagePrecision),
      "Precision averaged over all thresholds.",
      range(m.binary.averagePrecisionInterval, plain),
    ]);
  } else {
    for (const { k, accuracy } of m.topK)
      if (k > 1) all.push([`Top-${k}`, percent(accuracy), `Share of pictures with their true class among the ${k} most likely.`, ""]);
  }
  all.push(["Calibration error", percent(m.calibration.ece), "Mean gap between the probability shown and how often it was right (15 bins).", ""]);
  return all
    .map(
      ([name, value, meaning, interval]) =>
        `<div class="figure"><span>${name}</span><b>${value}</b>${interval ? `<span>${interval}</span>` : ""}<span>${encode(meaning)}</span></div>`,
    )
    .join("");
}

function range(i: Interval, show: (x: number) => string): string {
  return `95 % interval ${show(i.low)} to ${show(i.high)} (${i.method === "wilson" ? "Wilson" : "bootstrap"})`;
}

function percent(x: number): string {
  return `${(100 * x).toFixed(2)} %`;
}

function chart(title: string, meaning: string, svg: string): string {
  return `<div class="chart"><h3>${title}</h3><p>${meaning}</p>${svg}</div>`;
}

function png(bytes: Buffer): string {
  return `data:image/png;base64,${bytes.toString("base64")}`;
}
