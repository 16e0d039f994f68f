import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import opentype from "opentype.js";
import type { Face } from "./faces.js";

const require = createRequire(import.meta.url);
const loaded = new Map<Face, opentype.Font>();

/** Width of one line in pixels at an em size of `fontSize`. */
export function lineWidth(face: opentype.Font, line: string, fontSize: number): number {
  let units = 0;
  for (const { advance } of glyphs(face, line)) units += advance;
  return (units * fontSize) / face.unitsPerEm;
}

/** The outlines of one line whose baseline starts at (x, y), as SVG path data. */
export function linePath(face: opentype.Font, line: string, x: number, y: number, fontSize: number): string {
  const scale = fontSize / face.unitsPerEm;
  let data = "";
  for (const { glyph, advance } of glyphs(face, line)) {
    data += glyph.getPath(x, y, fontSize).toPathData(2);
    x += advance * scale;
  }
  return data;
}

/** One glyph a code point, kerned; the fonts' substitutions (ligatures) are left aside on purpose. */
function glyphs(face: opentype.Font, line: string): { glyph: opentype.Glyph; advance: number }[] {
  const drawn = Array.from(line, (character) => face.charToGlyph(character));
  return drawn.map((glyph, i) => {
    const next = drawn[i + 1];
    const kerning = next ? face.getKerningValue(glyph, next) : 0;
    return { glyph, advance: (glyph.advanceWidth ?? 0) + kerning };
  });
}

export function font(face: Face): opentype.Font {
  let f = loaded.get(face);
  if (!f) {
    const bytes = readFileSync(require.resolve(`dejavu-fonts-ttf/ttf/${face}.ttf`));
    f = opentype.parse(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
    loaded.set(face, f);
  }
  return f;
}
