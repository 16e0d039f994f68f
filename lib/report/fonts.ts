import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import opentype from "opentype.js";
import wawoff2 from "wawoff2";
import { font } from "../datasets/render/font.js";

/**
 * Text as outlines, from packaged fonts alone, so that a figure looks the same on every machine: DejaVu Sans,
 * and for what it lacks Noto Sans SC (Han, kana) and Noto Sans KR (Hangul). A character of none of them is
 * DejaVu's empty box.
 */
const require = createRequire(import.meta.url);

const FALLBACKS = ["noto-sans-sc", "noto-sans-kr"] as const;

/** The fallbacks are variable fonts whose outlines are those of weight 100 until another is set. */
const REGULAR = 400;
/** opentype.js 2 has it, its types do not. */
type VariableFont = opentype.Font & { variation?: { set(axes: Record<string, number>): void } };

interface Subset {
  file: string;
  /** Code points, first and last of each range. */
  ranges: [number, number][];
}

let subsets: Subset[] | undefined;
/** By file. */
const faces = new Map<string, opentype.Font>();
/** For a character that DejaVu Sans lacks: the file that has it, undefined where none does. */
const found = new Map<string, Subset | undefined>();

/** Loads the fonts that these texts need; `textPath` is synchronous after it. */
export async function loadFonts(texts: Iterable<string>): Promise<void> {
  for (const text of texts) for (const char of new Set(text)) await subsetOf(char);
}

/**
 * The file that has a character which DejaVu Sans lacks. What a subset claims is asked of its font: Noto Sans
 * SC claims Hangul that it lacks.
 */
async function subsetOf(char: string): Promise<Subset | undefined> {
  if (font("DejaVuSans").charToGlyphIndex(char) !== 0) return undefined;
  if (!found.has(char)) found.set(char, await firstWith(char));
  return found.get(char);
}

async function firstWith(char: string): Promise<Subset | undefined> {
  for (const subset of claiming(char)) {
    if ((await loadFace(subset.file)).charToGlyphIndex(char) !== 0) return subset;
  }
  return undefined;
}

async function loadFace(file: string): Promise<opentype.Font> {
  const known = faces.get(file);
  if (known) return known;
  const ttf = await wawoff2.decompress(readFileSync(file));
  const face = opentype.parse(new Uint8Array(ttf).buffer);
  (face as VariableFont).variation?.set({ wght: REGULAR });
  faces.set(file, face);
  return face;
}

/** The files that a page carries at most, of 20 to 90 KB each. */
const MOST_FILES = 24;

const NOT_ASCII = /[^\0-\x7f]/gu;

/**
 * CSS for a page: the fallback fonts' files that its texts need, in the page itself, for viewers without such
 * a font. Takes the page's whole HTML, so that no text of it is forgotten; what comes first is served first.
 */
export async function fontFaces(html: string): Promise<string> {
  const files = new Set<Subset>();
  for (const char of new Set(html.match(NOT_ASCII))) {
    if (files.size === MOST_FILES) break;
    const subset = await subsetOf(char);
    if (subset) files.add(subset);
  }
  const hex = (range: [number, number]) => `U+${range.map((point) => point.toString(16)).join("-")}`;
  const faceRule = ({ file, ranges }: Subset) => {
    const source = `url(data:font/woff2;base64,${readFileSync(file).toString("base64")})`;
    const declarations = [
      'font-family: "torchclip fallback"',
      "font-weight: 100 900",
      `src: ${source} format("woff2")`,
      `unicode-range: ${ranges.map(hex).join(",")}`,
    ];
    return `@font-face { ${declarations.join("; ")}; }`;
  };
  return [...files].map(faceRule).join("\n");
}

/** Width of a line in pixels at an em size of `fontSize`. */
export function textWidth(text: string, fontSize: number): number {
  return glyphs(text, fontSize).reduce((width, g) => width + g.advance, 0);
}

/** The outlines of a line whose baseline starts at (x, y), as SVG path data. */
export function textPath(text: string, x: number, y: number, fontSize: number): string {
  let data = "";
  for (const { glyph, face, advance } of glyphs(text, fontSize)) {
    data += glyph.getPath(x, y, fontSize, undefined, face).toPathData(2);
    x += advance;
  }
  return data;
}

interface PlacedGlyph {
  glyph: opentype.Glyph;
  face: opentype.Font;
  /** Pixels to the next one. */
  advance: number;
}

function glyphs(text: string, fontSize: number): PlacedGlyph[] {
  return Array.from(text, (char) => {
    const face = faceOf(char);
    const glyph = face.charToGlyph(char);
    return { glyph, face, advance: ((glyph.advanceWidth ?? 0) * fontSize) / face.unitsPerEm };
  });
}

function faceOf(char: string): opentype.Font {
  const main = font("DejaVuSans");
  if (main.charToGlyphIndex(char) !== 0) return main;
  return faces.get(found.get(char)?.file ?? "") ?? main;
}

/** The subsets that say they have a character, in the order of FALLBACKS. */
function claiming(char: string): Subset[] {
  subsets ??= FALLBACKS.flatMap(readSubsets);
  const point = char.codePointAt(0) ?? 0;
  return subsets.filter((s) => s.ranges.some(([first, last]) => point >= first && point <= last));
}

/**
 * The files of a font and the ranges that each covers: "[113]": "U+4e00,U+4e02-4e05" for
 * …-113-wght-normal.woff2.
 */
function readSubsets(name: string): Subset[] {
  const ranges = JSON.parse(
    readFileSync(require.resolve(`@fontsource-variable/${name}/unicode.json`), "utf8"),
  ) as Record<string, string>;
  return Object.entries(ranges).map(([key, list]) => {
    const subset = key.replace(/[[\]]/g, "");
    return {
      file: require.resolve(`@fontsource-variable/${name}/files/${name}-${subset}-wght-normal.woff2`),
      ranges: list.split(",").map(readRange),
    };
  });
}

/** "U+4e02-4e05", or "U+4e00" alone. */
function readRange(text: string): [first: number, last: number] {
  const points = text
    .replace(/^U\+/i, "")
    .split("-")
    .map((point) => parseInt(point, 16));
  return [points[0], points[points.length - 1]];
}
