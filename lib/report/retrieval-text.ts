import { countCaptions, type CaptionSet } from "../datasets/captions/caption-set.js";
import type { DirectionMetrics, Estimate } from "../eval/retrieval-metrics.js";
import type { RetrievalResult } from "../eval/retrieval.js";
import { percent, skippedLines } from "./text.js";

/** A direction as papers call it, and what it does. */
export const DIRECTIONS = [
  ["imageToText", "image → text", "An image is the query, captions are searched (papers: text retrieval)."],
  ["textToImage", "text → image", "A caption is the query, images are searched (papers: image retrieval)."],
] as const;

/** The two definitions of Recall@K, and who uses them. */
export const DEFINITIONS = [
  [
    "anyPositive",
    "Any positive in the top K",
    "All captions; an image is found where any of its captions is among the first K. " +
      "As the CLIP paper, CLIP_benchmark and open_clip's tables.",
  ],
  [
    "oneCaption",
    "One caption per image, by rank",
    "The first caption of each image alone; the rank is that of the pair. As open_clip_train.",
  ],
] as const;

/** The set, in a line. */
export function captionLines(data: CaptionSet): string {
  const { name, split, images } = data;
  return `Captions: ${name}, split ${split}, ${images.length} images, ${countCaptions(data)} captions`;
}

/** Both definitions in both directions, a table each. */
export function retrievalText({ metrics, skipped, truncated }: RetrievalResult): string {
  const tables = DEFINITIONS.map(([key, title, meaning]) => {
    const rows = DIRECTIONS.map(([direction, name]) => directionLine(name, metrics[key][direction]));
    return [title, meaning, headLine(key === "anyPositive"), ...rows].join("\n");
  });
  const ties = DIRECTIONS.map(([direction, name]) => [metrics.anyPositive[direction].ties, name] as const);
  return [
    ...tables.flatMap((table) => [table, ""]),
    "In brackets: 95 % intervals, bootstrap over images.",
    `Mean of both Recall@1 with any positive: ${percent(metrics.meanRecall1)}`,
    ...ties.filter(([count]) => count > 0).map(([count, name]) => tieLine(count, name)),
    ...(truncated > 0 ? [`${truncated} captions were longer than the model's context and were cut.`] : []),
    ...skippedLines(skipped, ", with their captions"),
  ].join("\n");
}

/** Characters of a figure with its interval. */
const COLUMN = 22;

const NAME = 14;

function headLine(hasGain: boolean): string {
  const figures = ["R@1", "R@5", "R@10", ...(hasGain ? ["nDCG@10"] : [])];
  return `${" ".repeat(NAME)}${figures.map((one) => one.padStart(COLUMN)).join("")}   median  mean rank`;
}

function directionLine(name: string, found: DirectionMetrics): string {
  const { recall, ndcg10, medianRank, meanRank } = found;
  const figures = [...recall, ...(ndcg10 ? [ndcg10] : [])].map((one) => estimateText(one).padStart(COLUMN));
  const ranks = `${String(medianRank.value).padStart(9)}${meanRank.value.toFixed(2).padStart(11)}`;
  return `${name.padEnd(NAME)}${figures.join("")}${ranks}`;
}

function tieLine(count: number, name: string): string {
  return (
    `${count} queries of ${name} have a wrong answer that scores exactly as the right one; ` +
    "the lower number came first."
  );
}

function estimateText({ value, interval: { low, high } }: Estimate): string {
  return `${percent(value)} (${(100 * low).toFixed(1)}–${(100 * high).toFixed(1)})`;
}
