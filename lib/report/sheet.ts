import { relative, resolve } from "node:path";
import { encode } from "html-entities";
import { pathInside } from "../util/inside.js";
import { fontFaces } from "./fonts.js";
import { gridPng, thumbnailUrl, type Tile } from "./images.js";
import { STYLE, VIEWPORT } from "./style.js";

export interface FoundImages {
  query: string;
  /**
   * Best first; `name` is a path inside the folder of the images, and E_ARGUMENT where it leads out of it.
   */
  hits: readonly { name: string; score: number }[];
}

const SIDE = 320;

/** The images found, a row of captions each: rank, score, name. */
export async function contactSheetPng(found: readonly FoundImages[], root: string): Promise<Buffer> {
  const tiles: Tile[] = [];
  for (const { query, hits } of found) {
    for (const [i, { name, score }] of hits.entries()) {
      const lines = [`${i + 1}. ${query}`, `${score.toFixed(4)}  ${name}`];
      tiles.push({ image: await pathInside(root, name), lines });
    }
  }
  return gridPng(tiles);
}

/**
 * The same as a page in the folder `folder`: WebP thumbnails inside it, each a link to its image. `heading` is
 * what the page shows.
 */
export async function contactSheetHtml(
  found: readonly FoundImages[],
  root: string,
  folder: string,
  heading = "Search",
): Promise<string> {
  const sections: string[] = [];
  for (const { query, hits } of found) {
    const figures = await Promise.all(hits.map((hit, i) => figureHtml(hit, i + 1, root, folder)));
    sections.push(`<h2>${encode(query)}</h2><div class="sheet">${figures.join("")}</div>`);
  }
  const body = `<h1>${encode(heading)}</h1>${sections.join("\n")}`;
  const title = `${encode(found.map(({ query }) => query).join(", "))}: torchclip ${heading.toLowerCase()}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">${VIEWPORT}<title>${title}</title>
<style>${STYLE}${await fontFaces(body)}</style></head><body>
${body}</body></html>
`;
}

async function figureHtml(
  { name, score }: FoundImages["hits"][number],
  rank: number,
  root: string,
  folder: string,
): Promise<string> {
  const file = await pathInside(root, name);
  const size = `width="${SIDE}" height="${SIDE}"`;
  const image = `<img loading="lazy" alt="${encode(name)}" ${size} src="${await thumbnailUrl(file, SIDE)}">`;
  const caption = `${rank}. <b>${score.toFixed(4)}</b><br>${encode(name)}`;
  const linked = `<a href="${encode(link(folder, file))}">${image}</a>`;
  return `<figure>${linked}<figcaption>${caption}</figcaption></figure>`;
}

/**
 * A relative link, so that a sheet moves together with its images. "./" keeps a name with a colon from being
 * a scheme.
 */
function link(folder: string, image: string): string {
  const path = relative(resolve(folder), resolve(image)).split(/[\\/]/);
  return `./${path.map(encodeURIComponent).join("/")}`;
}
