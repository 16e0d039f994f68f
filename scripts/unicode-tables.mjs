// Writes native/core/text/tables.h: what the tokenizer of the C ABI must know of Unicode and of HTML, from
// this Node's own Unicode version and from the package html-entities, so that it cuts texts as lib/text does.
//   node scripts/unicode-tables.mjs && clang-format -i native/core/text/tables.h
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { root } from "./setup.mjs";

const require = createRequire(import.meta.url);
const LAST = 0x10ffff;
const points = Array.from({ length: LAST + 1 }, (_, i) => i).filter((i) => i < 0xd800 || i > 0xdfff);
const text = (point) => String.fromCodePoint(point);
const codes = (string) => Array.from(string, (c) => c.codePointAt(0));
const hex = (n) => `0x${n.toString(16)}`;
const isHangul = (point) => point >= 0xac00 && point <= 0xd7a3; // by arithmetic

function ranges(test) {
  const found = [];
  for (const point of points) {
    if (!test.test(text(point))) continue;
    const last = found.at(-1);
    if (last && last[1] === point - 1) last[1] = point;
    else found.push([point, point]);
  }
  return found;
}

// Combining classes in their order, which is all that normalising needs: two marks change places exactly
// where the class of the first is the higher one.
const marks = points.filter((p) => /\p{M}/u.test(text(p)) && text(p).normalize("NFD") === text(p));
const swaps = (a, b) => `x${text(a)}${text(b)}`.normalize("NFD") !== `x${text(a)}${text(b)}`;
const GREEK_YPOGEGRAMMENI = 0x345; // the highest class of all
const moving = marks.filter((m) => m === GREEK_YPOGEGRAMMENI || swaps(GREEK_YPOGEGRAMMENI, m));
const classes = []; // one mark of each class
for (const m of moving) {
  let at = 0;
  while (at < classes.length && swaps(m, classes[at])) at++;
  if (at < classes.length && !swaps(classes[at], m)) continue;
  classes.splice(at, 0, m);
}
const classOf = (m) => classes.findIndex((c) => !swaps(m, c) && !swaps(c, m)) + 1;

const decomposed = points.filter((p) => !isHangul(p) && text(p).normalize("NFD") !== text(p));
const compositions = [];
for (const p of decomposed) {
  if (text(p).normalize("NFC") !== text(p)) continue; // never made
  const parts = codes(text(p).normalize("NFD"));
  const first = codes(String.fromCodePoint(...parts.slice(0, -1)).normalize("NFC"));
  if (first.length === 1) compositions.push([first[0], parts.at(-1), p]);
}
compositions.sort((a, b) => a[0] - b[0] || a[1] - b[1]);

const lowered = points.filter((p) => text(p).toLowerCase() !== text(p));
const wide = points.filter((p) => p >= 0xff01 && p <= 0xffef && text(p).normalize("NFKC") !== text(p));
const mapping = (list, to, width) =>
  list.map((p) => `{${hex(p)}, {${[...codes(to(text(p))).map(hex)].slice(0, width).join(", ")}}}`);
const { namedReferences } = require(
  "html-entities/dist/commonjs/named-references.js".replace(
    "html-entities",
    join(root, "node_modules/html-entities"),
  ),
);
const entities = Object.entries(namedReferences.html5.entities)
  .map(([name, value]) => [name.slice(1), value])
  .sort((a, b) => (a[0] < b[0] ? -1 : 1));
const bytes = (string) =>
  Array.from(new TextEncoder().encode(string), (b) => `\\${b.toString(8).padStart(3, "0")}`).join("");

const array = (type, name, what, items) =>
  `// ${what}\nconstexpr ${type} ${name}[] = {${items.join(", ")}};\n`;
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

${array(
  "Range",
  "kLetters",
  "\\p{L}",
  ranges(/\p{L}/u).map(([a, b]) => `{${hex(a)}, ${hex(b)}}`),
)}
${array(
  "Range",
  "kNumbers",
  "\\p{N}",
  ranges(/\p{N}/u).map(([a, b]) => `{${hex(a)}, ${hex(b)}}`),
)}
${array(
  "Range",
  "kCased",
  "\\p{Cased}",
  ranges(/\p{Cased}/u).map(([a, b]) => `{${hex(a)}, ${hex(b)}}`),
)}
${array(
  "Range",
  "kCaseIgnorable",
  "\\p{Case_Ignorable}",
  ranges(/\p{Case_Ignorable}/u).map(([a, b]) => `{${hex(a)}, ${hex(b)}}`),
)}
${array(
  "Mapping",
  "kLower",
  "Lower case, one character at a time.",
  mapping(lowered, (t) => t.toLowerCase(), 4),
)}
${array(
  "Mapping",
  "kDecomposed",
  "Canonical decompositions, whole; Hangul is not among them.",
  mapping(decomposed, (t) => t.normalize("NFD"), 4),
)}
${array(
  "Class",
  "kClasses",
  "Combining classes, by their order.",
  moving.map((m) => `{${hex(m)}, ${classOf(m)}}`),
)}
${array(
  "Composition",
  "kCompositions",
  "Canonical compositions, by the pair.",
  compositions.map((c) => `{${c.map(hex).join(", ")}}`),
)}
${array(
  "Mapping",
  "kWidths",
  "Full- and half-width forms as ordinary ones (NFKC).",
  mapping(wide, (t) => t.normalize("NFKC"), 4),
)}
${array(
  "Entity",
  "kEntities",
  "HTML's named characters, by the name.",
  entities.map(([name, value]) => `{"${name}", "${bytes(value)}"}`),
)}
}  // namespace torchclip::core::tables
`,
);
