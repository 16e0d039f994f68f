// Writes native/core/text/tables.h: what the tokenizer of the C ABI must know of Unicode and of HTML, from
// this Node's own Unicode version and from the package html-entities, so that it cuts texts as lib/text does.
//   node scripts/unicode-tables.mjs && clang-format -i native/core/text/tables.h
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { root } from "./setup.mjs";

const LAST = 0x10ffff;
/** Every character of Unicode; the surrogates are none. */
const points = Array.from({ length: LAST + 1 }, (_, i) => i).filter((i) => i < 0xd800 || i > 0xdfff);

/** @param {number} point */
const text = (point) => String.fromCodePoint(point);
/** @param {string} string */
const codes = (string) => Array.from(string, (character) => character.codePointAt(0) ?? 0);
/** @param {number} number */
const hex = (number) => `0x${number.toString(16)}`;
/** @param {number} point */
const isHangul = (point) => point >= 0xac00 && point <= 0xd7a3; // by arithmetic

/**
 * The ranges of the characters that match, as items of a table.
 * @param {RegExp} test
 */
function ranges(test) {
  /** @type {[first: number, last: number][]} */
  const found = [];
  for (const point of points) {
    if (!test.test(text(point))) continue;
    const last = found.at(-1);
    if (last?.[1] === point - 1) last[1] = point;
    else found.push([point, point]);
  }
  return found.map(([first, last]) => `{${hex(first)}, ${hex(last)}}`);
}

/**
 * The marks that change places, each with the rank of its combining class. Their order is all that
 * normalising needs: two marks change places exactly where the class of the first is the higher one.
 */
function combiningClasses() {
  const GREEK_YPOGEGRAMMENI = 0x345; // the highest class of all
  const marks = points.filter((p) => /\p{M}/u.test(text(p)) && text(p).normalize("NFD") === text(p));
  /** @type {(a: number, b: number) => boolean} */
  const swaps = (a, b) => `x${text(a)}${text(b)}`.normalize("NFD") !== `x${text(a)}${text(b)}`;
  const moving = marks.filter((mark) => mark === GREEK_YPOGEGRAMMENI || swaps(GREEK_YPOGEGRAMMENI, mark));
  /** @type {number[]} */
  const classes = []; // one mark of each class
  for (const mark of moving) {
    let at = 0;
    while (at < classes.length && swaps(mark, classes[at])) at++;
    if (at < classes.length && !swaps(classes[at], mark)) continue;
    classes.splice(at, 0, mark);
  }
  /** @param {number} mark */
  const rank = (mark) => classes.findIndex((other) => !swaps(mark, other) && !swaps(other, mark)) + 1;
  return moving.map((mark) => `{${hex(mark)}, ${rank(mark)}}`);
}

/**
 * The pairs of characters that compose to one, sorted.
 * @param {number[]} decomposed
 */
function compositions(decomposed) {
  /** @type {[first: number, second: number, whole: number][]} */
  const found = [];
  for (const point of decomposed) {
    if (text(point).normalize("NFC") !== text(point)) continue; // never made
    const parts = codes(text(point).normalize("NFD"));
    const first = codes(String.fromCodePoint(...parts.slice(0, -1)).normalize("NFC"));
    if (first.length === 1) found.push([first[0], parts[parts.length - 1], point]);
  }
  found.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return found.map((composition) => `{${composition.map(hex).join(", ")}}`);
}

/**
 * @param {number[]} from
 * @param {(text: string) => string} to
 */
function mappings(from, to) {
  /** @param {number} point */
  const target = (point) => {
    const targets = codes(to(text(point))).slice(0, 4);
    return targets.map(hex).join(", ");
  };
  return from.map((point) => `{${hex(point)}, {${target(point)}}}`);
}

/** HTML's named characters without "&", sorted by their names. */
function htmlEntities() {
  // A file that the package does not export.
  const file = join(root, "node_modules/html-entities/dist/commonjs/named-references.js");
  /** @type {(file: string) => { namedReferences: { html5: { entities: Record<string, string> } } }} */
  const require = createRequire(import.meta.url);
  const { namedReferences } = require(file);
  /** @param {string} string */
  const bytes = (string) =>
    Array.from(new TextEncoder().encode(string), (b) => `\\${b.toString(8).padStart(3, "0")}`).join("");
  return Object.entries(namedReferences.html5.entities)
    .map(([name, value]) => ({ name: name.slice(1), value }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, value }) => `{"${name}", "${bytes(value)}"}`);
}

/**
 * A table as C++ writes it.
 * @param {string} type
 * @param {string} name
 * @param {string} what
 * @param {string[]} items
 */
const table = (type, name, what, items) =>
  `// ${what}\nconstexpr ${type} ${name}[] = {${items.join(", ")}};\n`;

const decomposed = points.filter((p) => !isHangul(p) && text(p).normalize("NFD") !== text(p));
const lowered = points.filter((p) => text(p).toLowerCase() !== text(p));
const wide = points.filter((p) => p >= 0xff01 && p <= 0xffef && text(p).normalize("NFKC") !== text(p));
const lower = mappings(lowered, (character) => character.toLowerCase());
const canonical = mappings(decomposed, (character) => character.normalize("NFD"));
const widths = mappings(wide, (character) => character.normalize("NFKC"));

const tables = [
  table("Range", "kLetters", "\\p{L}", ranges(/\p{L}/u)),
  table("Range", "kNumbers", "\\p{N}", ranges(/\p{N}/u)),
  table("Range", "kCased", "\\p{Cased}", ranges(/\p{Cased}/u)),
  table("Range", "kCaseIgnorable", "\\p{Case_Ignorable}", ranges(/\p{Case_Ignorable}/u)),
  table("Mapping", "kLower", "Lower case, one character at a time.", lower),
  table("Mapping", "kDecomposed", "Canonical decompositions, whole; Hangul is not among them.", canonical),
  table("Class", "kClasses", "Combining classes, by their order.", combiningClasses()),
  table("Composition", "kCompositions", "Canonical compositions, by the pair.", compositions(decomposed)),
  table("Mapping", "kWidths", "Full- and half-width forms as ordinary ones (NFKC).", widths),
  table("Entity", "kEntities", "HTML's named characters, by the name.", htmlEntities()),
];
writeFileSync(
  join(root, "native/core/text/tables.h"),
  `// Written by scripts/unicode-tables.mjs from Unicode ${process.versions.unicode}; do not edit.
#pragma once

#include <cstdint>

namespace torchclip::core::tables {

struct Range {
  char32_t first, last;
};
struct Mapping {
  char32_t from, to[4];  // zeros after the last
};
struct Class {
  char32_t point;
  std::uint8_t rank;
};
struct Composition {
  char32_t first, second, whole;
};
struct Entity {
  const char *name, *text;  // without "&"; UTF-8
};

${tables.join("\n")}
}  // namespace torchclip::core::tables
`,
);
