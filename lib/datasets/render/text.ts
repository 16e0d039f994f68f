import { Resvg } from "@resvg/resvg-js";
import type { Face } from "./faces.js";
import { font, linePath, lineWidth } from "./font.js";

export interface TextImageOptions {
  /** Side of the square image in pixels. Default 448, as in Rendered SST2. */
  size?: number;
  /**
   * Height of the letters in pixels (em size). Default: the largest of 40, 38 … 12 with which the text fits.
   */
  fontSize?: number;
  /** Default "DejaVuSans". */
  face?: Face;
  /** Free border on each side in pixels. Default 16. */
  margin?: number;
  /** Shift of the text block from its place (left-aligned, centred vertically), in pixels. Default 0, 0. */
  offset?: { x: number; y: number };
  /** CSS colours. Default black on white. */
  color?: string;
  background?: string;
}

const LARGEST = 40;
const SMALLEST = 12;
const LINE_HEIGHT = 1.25; // × em

/**
 * A sentence as an SVG image: black on white, wrapped at words, as Rendered SST2 looks. Letters are drawn
 * as outlines of a packaged font, so no font of the machine is involved.
 */
export function textSvg(text: string, options: TextImageOptions = {}): string {
  const size = options.size ?? 448;
  const margin = options.margin ?? 16;
  const face = font(options.face ?? "DejaVuSans");
  const width = size - 2 * margin;

  let fontSize = options.fontSize ?? LARGEST;
  let lines = wrap(face, text, fontSize, width);
  if (options.fontSize === undefined) {
    while (fontSize > SMALLEST && lines.length * fontSize * LINE_HEIGHT > width) {
      fontSize -= 2;
      lines = wrap(face, text, fontSize, width);
    }
  }

  const step = fontSize * LINE_HEIGHT;
  const left = margin + (options.offset?.x ?? 0);
  const top = (size - lines.length * step) / 2 + (options.offset?.y ?? 0);
  const paths = lines
    .map((line, i) => linePath(face, line, left, top + i * step + fontSize * 0.95, fontSize))
    .join("");
  const color = options.color ?? "#000000";
  const background = options.background ?? "#ffffff";
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}">`,
    `<rect width="${size}" height="${size}" fill="${background}"/>`,
    `<path d="${paths}" fill="${color}"/></svg>`,
  ].join("");
}

/** The same as PNG bytes; equal input gives equal bytes on every machine. */
export function textPng(text: string, options: TextImageOptions = {}): Buffer {
  return svgPng(textSvg(text, options));
}

export function svgPng(svg: string): Buffer {
  return new Resvg(svg, { font: { loadSystemFonts: false } }).render().asPng();
}

function wrap(face: ReturnType<typeof font>, text: string, fontSize: number, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const longer = line ? `${line} ${word}` : word;
    if (line && lineWidth(face, longer, fontSize) > width) {
      lines.push(line);
      line = word;
    } else {
      line = longer;
    }
    while (lineWidth(face, line, fontSize) > width && Array.from(line).length > 1) {
      const cut = fitting(face, line, fontSize, width);
      lines.push(line.slice(0, cut));
      line = line.slice(cut);
    }
  }
  if (line) lines.push(line);
  return lines;
}

/** How many leading UTF-16 units of a word that is wider than the image still fit; at least one character. */
function fitting(face: ReturnType<typeof font>, word: string, fontSize: number, width: number): number {
  let cut = 0;
  for (const char of word) {
    if (cut && lineWidth(face, word.slice(0, cut + char.length), fontSize) > width) break;
    cut += char.length;
  }
  return cut;
}
