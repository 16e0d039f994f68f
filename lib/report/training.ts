import { encode } from "html-entities";
import { trainingChart, type TrainingPoint } from "./charts.js";
import { fontFaces } from "./fonts.js";
import { STYLE, VIEWPORT } from "./style.js";
import { percent } from "./text.js";

/** What the page shows. */
export interface TrainingPage {
  title: string;
  /** How it was trained, in a line. */
  about: string;
  history: { steps: readonly TrainingPoint[]; validations: readonly TrainingPoint[] };
  /** Accuracy between the weights before and after training; may be empty. */
  sweep: readonly { share: number; accuracy: number }[];
}

const POINTS = 200; // of a curve; each is the mean of the steps that it stands for

/** Means of consecutive steps, at most `POINTS` of them; the step of each is its last. */
export function thinned(steps: readonly TrainingPoint[]): TrainingPoint[] {
  const size = Math.ceil(steps.length / POINTS);
  const points: TrainingPoint[] = [];
  for (let start = 0; start < steps.length; start += size) {
    const group = steps.slice(start, start + size);
    const mean = (field: "loss" | "accuracy") =>
      group.reduce((sum, point) => sum + point[field], 0) / group.length;
    points.push({ step: group[group.length - 1].step, loss: mean("loss"), accuracy: mean("accuracy") });
  }
  return points;
}

/** A page with the curves of loss and accuracy, and the table of validations. */
export async function trainingPage({ title, about, history, sweep }: TrainingPage): Promise<string> {
  const steps = thinned(history.steps);
  const charts = [];
  for (const field of ["loss", "accuracy"] as const) {
    const name = field === "loss" ? "Loss" : "Accuracy";
    const caption = `${name} of the training batches and of the validation images`;
    const chart = await trainingChart(field, steps, history.validations);
    charts.push(`<figure class="chart">${chart}<figcaption>${caption}</figcaption></figure>`);
  }
  const content = [
    `<h1>${encode(title)}</h1><p class="sub">${encode(about)}</p>`,
    ...charts,
    table(
      ["step", "validation loss", "validation accuracy"],
      history.validations.map(({ step, loss, accuracy }) => [`${step}`, loss.toFixed(4), percent(accuracy)]),
    ),
    table(
      ["share of the trained weights", "accuracy"],
      sweep.map(({ share, accuracy }) => [share.toFixed(1), percent(accuracy)]),
    ),
  ].join("\n");
  const style = `<style>${STYLE}${await fontFaces(content)}</style>`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">${VIEWPORT}<title>${encode(title)}: torchclip</title>${style}</head>
<body>
${content}
</body></html>
`;
}

/** A table; nothing where it has no rows. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return "";
  const heads = head.map((text) => `<th>${encode(text)}</th>`).join("");
  const body = rows
    .map((row) => `<tr>${row.map((text) => `<td>${encode(text)}</td>`).join("")}</tr>`)
    .join("");
  return `<div class="scroll"><table><thead><tr>${heads}</tr></thead><tbody>${body}</tbody></table></div>`;
}
