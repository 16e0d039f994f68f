import type { ImageLimits } from "../images/types.js";
import { basename } from "node:path";
import { encode } from "html-entities";
import type { CaptionSet } from "../datasets/captions/caption-set.js";
import type { BothDirections, DirectionMetrics, Estimate } from "../eval/retrieval-metrics.js";
import type { RetrievalResult, RetrievedRow, WorstQuery } from "../eval/retrieval.js";
import type { RetrievalManifest } from "../eval/run-manifest.js";
import { mapLimited } from "../util/iterate.js";
import { thumbnailUrl, type ThumbnailOptions } from "./images.js";
import { percent, reportPage } from "./page.js";
import { manifestHtml } from "./run-html.js";
import { DEFINITIONS, DIRECTIONS } from "./retrieval-text.js";
import { RETRIEVAL_STYLE } from "./style.js";

/**
 * One self-contained page: no request and no script. Everything that comes from outside is escaped. Images that are
 * no longer readable cost their place, not the page.
 */
export async function retrievalHtml(
  data: CaptionSet,
  result: RetrievalResult,
  manifest: RetrievalManifest,
  limits: ImageLimits = {},
): Promise<string> {
  const title = `Retrieval: ${encode(manifest.model.name)} on ${encode(basename(data.name))}`;
  const thumbnails = await thumbnailsOf(result, {
    ...limits,
    autoRotate: manifest.preprocessing.exifOrientation === "applied",
  });
  const body = bodyHtml(title, data, result, manifest, thumbnails);
  return reportPage({ title, body, style: RETRIEVAL_STYLE });
}

/** Data URLs of the images that the page shows, by the images' numbers. */
type Thumbnails = ReadonlyMap<number, string>;

const SIDE = 224;

async function thumbnailsOf(
  { worst, images }: RetrievalResult,
  options: ThumbnailOptions,
): Promise<Thumbnails> {
  const shown = new Set([
    ...worst.imageToText.map(({ query }) => query),
    ...worst.textToImage.flatMap(({ answer, hits }) => [answer.row, ...hits.map(({ row }) => row)]),
  ]);
  const urls = await mapLimited([...shown], 4, async (row): Promise<[number, string][]> =>
    thumbnailUrl(images[row].image, SIDE, options).then(
      (url) => [[row, url]],
      () => [],
    ),
  );
  return new Map(urls.flat());
}

function bodyHtml(
  title: string,
  data: CaptionSet,
  result: RetrievalResult,
  manifest: RetrievalManifest,
  thumbnails: Thumbnails,
): string {
  const { metrics } = result;
  return [
    `<h1>${title}</h1>`,
    `<p class="sub">${runText(data, result, manifest)}</p>`,
    `<div class="figures">${leadingFigures(metrics.anyPositive)}</div>`,
    `<h2>Both definitions of Recall@K</h2>`,
    `<p class="sub">${NOTES}${tiesText(metrics.anyPositive)}</p>`,
    `<div class="definitions">${DEFINITIONS.map(([key, name, meaning]) =>
      definitionHtml(name, meaning, metrics[key]),
    ).join("")}</div>`,
    `<h2>Worst queries: image → text</h2><p class="sub">${WORST_IMAGES}</p>`,
    worstImages(result, thumbnails),
    `<h2>Worst queries: text → image</h2><p class="sub">${WORST_CAPTIONS}</p>`,
    worstCaptions(result, thumbnails),
    skippedHtml(result),
    manifestHtml(manifest),
  ].join("\n");
}

const NOTES =
  "Small: 95 % intervals, bootstrap over images with all their captions. " +
  "Median and mean are of the rank of the best right answer; 1 is the first place.";
const WORST_IMAGES =
  "The ten images whose best caption (green) came latest: its rank and cosine, and the three captions that came first.";
const WORST_CAPTIONS =
  "The ten captions whose image (green frame) came latest: its rank and cosine, and the three images that came first.";

function runText(
  data: CaptionSet,
  { metrics, truncated }: RetrievalResult,
  manifest: RetrievalManifest,
): string {
  return [
    encode(data.name),
    `split ${encode(data.split)}, ${metrics.images} images, ${metrics.captions} captions`,
    `${encode(manifest.device)}, ${encode(manifest.precision)}`,
    ...(truncated > 0 ? [`${truncated} captions cut at the model's context`] : []),
  ].join(" · ");
}

/** Recall@1 of both directions, large. */
function leadingFigures(found: BothDirections): string {
  return DIRECTIONS.map(([direction, name, meaning]) => {
    const [first] = found[direction].recall;
    const interval = `95 % interval ${percent(first.interval.low)} to ${percent(first.interval.high)}`;
    return (
      `<div class="figure"><span>Recall@1, ${name}</span><b>${percent(first.value)}</b>` +
      `<span>${interval}</span><span>${meaning}</span></div>`
    );
  }).join("");
}

/** A definition in both directions: a row for each metric, so that it fits a phone. */
function definitionHtml(name: string, meaning: string, found: BothDirections): string {
  const heads = DIRECTIONS.map(([, direction]) => `<th>${direction}</th>`).join("");
  const rows = metricRows(found).map(([metric, ...cells]) => `<tr><td>${metric}</td>${cells.join("")}</tr>`);
  const table = `<table><thead><tr><th></th>${heads}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
  return `<div class="definition"><h3>${name}</h3><p class="sub">${meaning}</p>${table}</div>`;
}

/** The name of each metric, and a cell for each direction. */
function metricRows(found: BothDirections): string[][] {
  const cells = (pick: (of: DirectionMetrics) => Estimate | undefined, cell: (of: Estimate) => string) =>
    DIRECTIONS.map(([direction]) => {
      const estimate = pick(found[direction]);
      return estimate ? cell(estimate) : "<td></td>";
    });
  const recalls = found.imageToText.recall.map(({ k }, i) => [
    `Recall@${k}`,
    ...cells(({ recall }) => recall[i], shareCell),
  ]);
  const gain = ["nDCG@10", ...cells(({ ndcg10 }) => ndcg10, shareCell)];
  return [
    ...recalls,
    ...(found.imageToText.ndcg10 ? [gain] : []),
    ["median rank", ...cells(({ medianRank }) => medianRank, rankCell)],
    ["mean rank", ...cells(({ meanRank }) => meanRank, rankCell)],
  ];
}

/** A share with its interval, which is short enough for a phone. */
function shareCell({ value, interval: { low, high } }: Estimate): string {
  const short = (x: number) => (100 * x).toFixed(1);
  return `<td>${percent(value)}<small>${short(low)} to ${short(high)}\u00a0%</small></td>`;
}

function rankCell({ value, interval: { low, high } }: Estimate): string {
  const short = (x: number) => (Number.isInteger(x) ? String(x) : x.toFixed(2));
  return `<td>${short(value)}<small>${short(low)} to ${short(high)}</small></td>`;
}

function tiesText(found: BothDirections): string {
  return DIRECTIONS.filter(([direction]) => found[direction].ties > 0)
    .map(
      ([direction, name]) =>
        ` In ${found[direction].ties} queries of ${name} a wrong answer scores exactly as the right one, ` +
        "and the lower number came first.",
    )
    .join("");
}

/** An image with its best caption, and the captions that came before it. */
function worstImages({ worst, images, captions }: RetrievalResult, thumbnails: Thumbnails): string {
  const items = worst.imageToText.map((query) => {
    const lines = query.hits.map((hit) => captionLine(hit, captions, query));
    const best = `<b class="right">${encode(captions[query.answer.row])}</b> ${cosine(query.answer)}`;
    return (
      `<article class="query">${imageHtml(query.query, images, thumbnails)}` +
      `<div>${rankHtml(query, captions.length)}<p>${best}</p>` +
      `<ol>${lines.join("")}</ol></div></article>`
    );
  });
  return `<div class="queries">${items.join("\n")}</div>`;
}

function captionLine(hit: RetrievedRow, captions: readonly string[], { answer }: WorstQuery): string {
  const isRight = hit.row === answer.row;
  return `<li${isRight ? ' class="right"' : ""}>${encode(captions[hit.row])} ${cosine(hit)}</li>`;
}

/** A caption with its image, and the images that came before it. */
function worstCaptions({ worst, images, captions }: RetrievalResult, thumbnails: Thumbnails): string {
  const items = worst.textToImage.map((query) => {
    const figures = [
      `<figure class="right">${imageHtml(query.answer.row, images, thumbnails)}` +
        `<figcaption><b>right</b> ${cosine(query.answer)}</figcaption></figure>`,
      ...query.hits.map(
        (hit, place) =>
          `<figure>${imageHtml(hit.row, images, thumbnails)}` +
          `<figcaption>${place + 1}. ${cosine(hit)}</figcaption></figure>`,
      ),
    ];
    return (
      `<article class="caption">${rankHtml(query, images.length)}<p><b>${encode(captions[query.query])}</b></p>` +
      `<div class="hits">${figures.join("")}</div></article>`
    );
  });
  return `<div class="captions">${items.join("\n")}</div>`;
}

function rankHtml({ rank }: WorstQuery, among: number): string {
  return `<p class="rank">rank ${rank} of ${among}</p>`;
}

const cosine = ({ score }: RetrievedRow) => `<small>${score.toFixed(3).replace("-", "−")}</small>`;

function imageHtml(row: number, images: RetrievalResult["images"], thumbnails: Thumbnails): string {
  const url = thumbnails.get(row);
  const name = encode(images[row].name);
  if (url === undefined) return `<p class="missing">${name} is no longer readable</p>`;
  return `<img loading="lazy" width="${SIDE}" height="${SIDE}" alt="${name}" title="${name}" src="${url}">`;
}

function skippedHtml({ skipped }: RetrievalResult): string {
  if (skipped.length === 0) return "";
  const lines = skipped.map(({ name, message }) => encode(`${name}: ${message}`)).join("\n");
  return (
    `<h2>Skipped</h2><p class="sub">${skipped.length} images could not be read; they and their captions are in no ` +
    `figure above.</p><pre>${lines}</pre>`
  );
}
