import { encode } from "html-entities";
import { fewShotChart, type FewShotPoint } from "./charts.js";
import { fontFaces } from "./fonts.js";
import { STYLE, VIEWPORT } from "./style.js";

/** What the page shows. */
export interface FewShotPage {
  title: string;
  /** How it was run, in a line. */
  about: string;
  points: readonly FewShotPoint[];
  /** Accuracy without training images. */
  zeroShot: number;
  /** Name and source of each method. */
  methods: readonly { name: string; paper: string }[];
}

const percent = (share: number) => (100 * share).toFixed(1);

/** A cell: mean and deviation in percent. */
const cellText = ({ mean, deviation }: FewShotPoint) => `${percent(mean)} ± ${percent(deviation)}`;

/** Accuracy by method and shots, as rows of texts; the first row is the head. */
function fewShotRows(points: readonly FewShotPoint[], zeroShot: number): string[][] {
  const shots = [...new Set(points.map((point) => point.shots))].sort((a, b) => a - b);
  const names = [...new Set(points.map((point) => point.name))];
  const cell = (name: string, count: number) => {
    const point = points.find((one) => one.name === name && one.shots === count);
    return point ? cellText(point) : "";
  };
  return [
    ["method", ...shots.map((count) => `${count} ${count === 1 ? "shot" : "shots"}`)],
    ["Zero-shot", ...shots.map(() => percent(zeroShot))],
    ...names.map((name) => [name, ...shots.map((count) => cell(name, count))]),
  ];
}

/** The table in Markdown. */
export function fewShotMarkdown(points: readonly FewShotPoint[], zeroShot: number): string {
  const [head, ...rows] = fewShotRows(points, zeroShot);
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = head.map((_, i) => (i === 0 ? "---" : "---:"));
  return `${[head, rule, ...rows].map(line).join("\n")}\n`;
}

/** A page with the chart and the table. */
export async function fewShotPage(page: FewShotPage): Promise<string> {
  const [head, ...rows] = fewShotRows(page.points, page.zeroShot);
  const heads = head.map((text) => `<th>${encode(text)}</th>`).join("");
  const body = rows
    .map((row) => `<tr>${row.map((text) => `<td>${encode(text)}</td>`).join("")}</tr>`)
    .join("");
  const sources = page.methods
    .map(({ name, paper }) => `<li>${encode(name)}: ${encode(paper)}</li>`)
    .join("");
  const chart = await fewShotChart(page.points, page.zeroShot);
  const caption =
    "Accuracy on the test split, mean over the draws; the bars are one standard\n" +
    "deviation to each side, the dashed line is zero-shot.";
  const content = [
    `<h1>${encode(page.title)}</h1><p class="sub">${encode(page.about)}</p>`,
    `<figure class="chart">${chart}<figcaption>${caption}</figcaption></figure>`,
    `<div class="scroll"><table><thead><tr>${heads}</tr></thead><tbody>${body}</tbody></table></div>`,
    `<h2>Methods</h2><ul>${sources}</ul>`,
  ].join("\n");
  const style = `<style>${STYLE}${await fontFaces(content)}</style>`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">${VIEWPORT}<title>${encode(page.title)}: torchclip</title>${style}</head>
<body>
${content}
</body></html>
`;
}
