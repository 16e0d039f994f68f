import { createRequire } from "node:module";
import type * as HtmlEntities from "html-entities";
import { addon } from "../addon.js";
import type { TokenizerConfig } from "./types.js";

/**
 * What the reference tokenizers do to a text before they cut it into tokens. `fixText` is ftfy 6
 * (`ftfy.fix_text` with its default options).
 */
export function cleanText(text: string, how: TokenizerConfig["clean"]): string {
  switch (how) {
    case "none":
      return text;
    case "openai": // openai/CLIP simple_tokenizer.py: basic_clean, whitespace_clean, lower
      return singleSpaces(basicClean(text)).toLowerCase();
    case "lower":
      return text.toLowerCase();
    case "whitespace": // open_clip tokenizer.py: _clean_whitespace
      return singleSpaces(basicClean(text));
    case "whitespace_underscore": // open_clip tokenizer.py: _clean_whitespace_underscore
      return singleSpaces(basicClean(text).replaceAll("_", " "));
    case "canonicalize": // open_clip tokenizer.py: _clean_canonicalize
      return canonicalize(basicClean(text));
    case "siglip": // transformers: SiglipTokenizer.canonicalize_text
      return canonicalize(text, false);
  }
}

const require = createRequire(import.meta.url);

/**
 * html-entities, as HTML itself, gives U+0080 … by Windows' table and U+FFFD for what no character has, like
 * Python. It is loaded by the first text that may hold an entity.
 */
function decode(text: string, scope: "body" | "strict"): string {
  const entities = require("html-entities") as typeof HtmlEntities;
  return entities.decode(text, { scope, level: "html5" });
}

function unescape(text: string): string {
  return text.includes("&") ? decode(text, "body") : text;
}

function basicClean(text: string): string {
  return strip(unescape(unescape(fixText(text))));
}

/** Python's `str.split` and `str.strip` without arguments cut at these. */
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const SPACES = new RegExp(`[${SPACE}]+`, "g");
const ENDS = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, "g");
const strip = (text: string): string => text.replace(ENDS, "");
const singleSpaces = (text: string): string => strip(text.replace(SPACES, " "));

/**
 * NFC, single spaces, lower case: the normaliser of CLIP's tokenizer.json, for texts that are not cleaned as
 * openai/CLIP does it. transformers lowers each character alone, so a final capital sigma does not become a
 * final small one.
 */
export function normalizeText(text: string): string {
  const single = text.normalize("NFC").replace(/\p{White_Space}+/gu, " ");
  return single.includes("Σ") ? Array.from(single, (c) => c.toLowerCase()).join("") : single.toLowerCase();
}

/** big_vision's canonicalize_text: no ASCII punctuation, lower case, single spaces. */
function canonicalize(text: string, underscores = true): string {
  const spaced = underscores ? text.replaceAll("_", " ") : text;
  return singleSpaces(lower(spaced.replace(/[!-/:-@[-`{-~]/g, "")));
}

function lower(text: string): string {
  return text.toLowerCase();
}

// ftfy/chardata.py: LIGATURES
const LIGATURES: Record<string, string | undefined> = {
  Ĳ: "IJ",
  ĳ: "ij",
  ŉ: "ʼn",
  Ǳ: "DZ",
  ǲ: "Dz",
  ǳ: "dz",
  Ǆ: "DŽ",
  ǅ: "Dž",
  ǆ: "dž",
  Ǉ: "LJ",
  ǈ: "Lj",
  ǉ: "lj",
  Ǌ: "NJ",
  ǋ: "Nj",
  ǌ: "nj",
  ﬀ: "ff",
  ﬁ: "fi",
  ﬂ: "fl",
  ﬃ: "ffi",
  ﬄ: "ffl",
  ﬅ: "ſt",
  ﬆ: "st",
};
const LIGATURE = new RegExp(`[${Object.keys(LIGATURES).join("")}]`, "g");
// Entities that ftfy decodes in text without "<": those that end in a semicolon, and upper-case ones of Latin
// letters.
const ENTITY = /&#?[0-9A-Za-z]{1,24};/g;

const CONTROLS = /[\x00-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]/g;

const TERMINAL = /\x1b\[[\d;]*[a-zA-Z]/g;

function fixText(text: string): string {
  let result = "";
  let entities = true;
  // ftfy works line by line, and from the first "<" on leaves entities alone.
  for (let start = 0; start < text.length;) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline + 1;
    const line = text.slice(start, end);
    if (line.includes("<")) entities = false;
    result += fixLine(line, entities);
    start = end;
  }
  return result;
}

function fixLine(line: string, entities: boolean): string {
  for (;;) {
    const before = line;
    if (entities) line = line.replace(ENTITY, fixEntity);
    if (/[^\x00-\x7f]/.test(line)) line = addon().fixEncoding(line);
    line = line
      .replace(/[\x80-\x9f]/g, fixC1)
      .replace(LIGATURE, (c) => LIGATURES[c] ?? c)
      // Full- and half-width forms, and the ideographic space.
      .replace(/[\u3000\uff01-\uffef]/g, (c) => (c === "\u3000" ? " " : c.normalize("NFKC")))
      .replace(/[\u201c-\u201f]/g, '"')
      .replace(/[\u02bc\u2018-\u201b]/g, "'")
      .replace(/\r\n|[\r\u2028\u2029\x85]/g, "\n")
      .replace(/\p{Surrogate}/gu, "\ufffd")
      .replace(TERMINAL, "")
      .replace(CONTROLS, "")
      .normalize("NFC");
    if (line === before) return line;
  }
}

// Windows-1252 from 0x80 on; where it has nothing, the control itself. (Some Node versions' TextDecoder reads
// Latin-1.)
const WINDOWS_1252 = "€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ";

/** A C1 control is nearly always a Windows-1252 character read as Latin-1. */
function fixC1(c: string): string {
  return WINDOWS_1252[c.charCodeAt(0) - 0x80] ?? c;
}

function fixEntity(entity: string): string {
  const known = decode(entity, "strict");
  if (known !== entity) return known;
  // P&EACUTE;REZ: the lower-case entity's upper case, where it is a Latin letter.
  if (!/^&[A-Z]+;$/.test(entity)) return entity;
  const lowered = decode(entity.toLowerCase(), "strict");
  return /^[\u00c0-\u00ff]$/.test(lowered) ? lowered.toUpperCase() : entity;
}
