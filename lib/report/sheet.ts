import { relative, resolve } from "node:path";
import { encode } from "html-entities";
import { pathInside } from "../util/inside.js";
import { fontFaces } from "./fonts.js";
import { STYLE } from "./style.js";
import { gridPng, thumbnailUrl, type Tile } from "./images.js";

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
    for (const [i, hit] of hits.entries())
      tiles.push({
        image: await pathInside(root, hit.name),
        lines: [`${i + 1}. ${query}`, `${hit.score.toFixed(4)}  ${hit.name}`],
      });
  }
  return gridPng(tiles);
}

/** The same as a page in the folder `folder`: WebP thumbnails inside it, each a link to its image. */
export async function contactSheetHtml(
  found: readonly FoundImages[],
  root: string,
  folder: string,
): Promise<string> {
  const sections: string[] = [];
  for (const { query, hits } of found) {
    const figures = await Promise.all(
      hits.map(
        async (h, i) =>
          `<figure><a href="${encode(link(folder, await pathInside(root, h.name)))}"><img loading="lazy" alt="${encode(h.name)}" width="${SIDE}" height="${SIDE}" src="${await thumbnailUrl(await pathInside(root, h.name), SIDE)}"></a><figcaption>${i + 1}. <b>${h.score.toFixed(4)}</b><br>${encode(h.name)}</figcaption></figure>`,
      ),
    );
    sections.push(`<h2>${encode(query)}</h2><div class="sheet">${figures.join("")}</div>`);
  }
  const body = `<h1>Search</h1>${sections.join("\n")}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${encode(found.map((f) => f.query).join(", "))}: torchclip search</title>
<style>${STYLE}${await fontFaces(body)}</style></head><body>
${body}</body></html>
`;
}

/**
 * A relative link, so that a sheet moves together with its images. "./" keeps a name with a colon from being
 * a scheme.
 */
function link(folder: string, image: string): string {
  const path = relative(resolve(folder), resolve(image)).split(/[\\/]/);
  return `./${path.map(encodeURIComponent).join("/")}`;
}
