import { Resvg } from "@resvg/resvg-js";
import sharp, { type Sharp } from "sharp";
import { decodeImage } from "../images/decode.js";
import type { ImageInput, ImageLimits } from "../images/types.js";
import { loadFonts, textPath, textWidth } from "./fonts.js";

/** One image of a figure. `correct` colours its caption; leave it out for plain black. */
export interface Tile {
  image: ImageInput;
  lines: string[];
  correct?: boolean;
  /** The limits with which the run read the image. */
  limits?: ImageLimits;
}

const INK = "#1a1a1a";
const GREEN = "#1a7f37";
const RED = "#cf222e";

/** A single image with its title above it, as PNG. */
export async function examplePng(tile: Tile): Promise<Buffer> {
  return figure([tile], { columns: 1, side: 448, fontSize: 20 });
}

/** A grid of images with their captions (green right, red wrong), as PNG. */
export async function gridPng(tiles: readonly Tile[], columns = Math.min(5, tiles.length)): Promise<Buffer> {
  return figure(tiles, { columns, side: 240, fontSize: 15 });
}

interface FigureStyle {
  columns: number;
  /** Of an image, in pixels. */
  side: number;
  fontSize: number;
}

/** Pixels between the cells, and around them. */
const GAP = 16;

async function figure(tiles: readonly Tile[], style: FigureStyle): Promise<Buffer> {
  const { columns, side } = style;
  const captions = Math.max(...tiles.map((tile) => tile.lines.length)) * lineHeight(style);
  const cellHeight = side + captions + 12 + GAP;
  const width = columns * (side + GAP) + GAP;
  const height = Math.ceil(tiles.length / columns) * cellHeight + GAP;
  await loadFonts(tiles.flatMap((tile) => tile.lines));
  const cells = await Promise.all(
    tiles.map((tile, i) => {
      const x = GAP + (i % columns) * (side + GAP);
      const y = GAP + Math.floor(i / columns) * cellHeight;
      return cellSvg(tile, x, y, captions, style);
    }),
  );
  const ground = `<rect width="${width}" height="${height}" fill="#ffffff"/>`;
  const size = `width="${width}" height="${height}"`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" ${size}>${ground}${cells.join("")}</svg>`;
  return new Resvg(svg, { font: { loadSystemFonts: false } }).render().asPng();
}

function lineHeight({ fontSize }: FigureStyle): number {
  return fontSize * 1.35;
}

/** A caption whose lines take `captions` pixels, and the framed image below it. */
async function cellSvg(
  tile: Tile,
  x: number,
  y: number,
  captions: number,
  style: FigureStyle,
): Promise<string> {
  const { side, fontSize } = style;
  const color = captionColor(tile);
  const lines = tile.lines.map((line, n) => {
    const outline = fittedPath(line, x, y + fontSize + n * lineHeight(style), fontSize, side);
    return `<path fill="${n === 0 ? color : INK}" d="${outline}"/>`;
  });
  const place = `x="${x}" y="${y + captions + 8}" width="${side}" height="${side}"`;
  const stroke = tile.correct === undefined ? 1 : 3;
  return [
    ...lines,
    await imageSvg(tile, place, side),
    `<rect ${place} fill="none" stroke="${color}" stroke-width="${stroke}"/>`,
  ].join("");
}

/** The image; a grey ground for one that is no longer readable, which must not cost the figure. */
async function imageSvg({ image, limits }: Tile, place: string, side: number): Promise<string> {
  const url = await dataUrl(image, side, limits).catch(() => undefined);
  return url === undefined ? `<rect ${place} fill="#dddddd"/>` : `<image ${place} href="${url}"/>`;
}

function captionColor({ correct }: Tile): string {
  if (correct === undefined) return INK;
  return correct ? GREEN : RED;
}

/** A line that is made smaller, then cut with an ellipsis, to fit its cell. */
function fittedPath(text: string, x: number, y: number, fontSize: number, width: number): string {
  let size = fontSize;
  while (size > fontSize * 0.75 && textWidth(text, size) > width) size -= 1;
  let shown = text;
  while (shown.length > 1 && textWidth(shown, size) > width)
    shown = `${Array.from(shown).slice(0, -2).join("")}…`;
  return textPath(shown, x, y, size);
}

/** An image small enough for its cell, whole, on grey where it is not square, as a PNG's data URL. */
export async function dataUrl(image: ImageInput, side: number, limits?: ImageLimits): Promise<string> {
  const png = await (await fitted(image, side * 2, limits)).png({ compressionLevel: 9 }).toBuffer();
  return `data:image/png;base64,${png.toString("base64")}`;
}

/** As the run read the image. */
export interface ThumbnailOptions extends ImageLimits {
  autoRotate?: boolean;
}

/** An image of at most `side` pixels as a WebP file (5 to 15 KB for a photograph of 256). */
export async function thumbnail(
  image: ImageInput,
  side: number,
  options: ThumbnailOptions = {},
): Promise<Buffer> {
  return (await fitted(image, side, options)).webp({ quality: 80 }).toBuffer();
}

/** A thumbnail as a data URL, for pages with many images. */
export async function thumbnailUrl(
  image: ImageInput,
  side: number,
  options: ThumbnailOptions = {},
): Promise<string> {
  return `data:image/webp;base64,${(await thumbnail(image, side, options)).toString("base64")}`;
}

/** Decoded as the model sees it: what it could read, the report can show. */
async function fitted(image: ImageInput, side: number, options: ThumbnailOptions = {}): Promise<Sharp> {
  const { data, width, height, channels } = await decodeImage(image, {
    ...options,
    fastDecode: true,
    size: side,
  });
  return sharp(data, { raw: { width, height, channels } })
    .removeAlpha()
    .resize(side, side, { fit: "contain", background: "#dddddd" });
}
