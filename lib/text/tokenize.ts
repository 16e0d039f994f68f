import { TorchclipError } from "../errors.js";
import type { Tokenizer } from "./tokenizer.js";

/** Padded ids, int32 [rows, length], and which texts were cut. */
export interface Tokens {
  data: Int32Array;
  rows: number;
  length: number;
  truncated: boolean[];
}

export interface TokenizeOptions {
  /** What to do with a text longer than the context: refuse it (default, as the reference) or cut its end. */
  truncate?: "error" | "end";
}

/**
 * Rows of a text's ids, then padding, as openai/CLIP's `clip.tokenize`. Throws E_TEXT_TOO_LONG with the
 * text's index.
 */
export function tokenize(
  tokenizer: Tokenizer,
  texts: readonly string[],
  length: number,
  options: TokenizeOptions = {},
): Tokens {
  const { padId, endId, stripEnd } = tokenizer.config;
  const data = new Int32Array(texts.length * length).fill(padId);
  const truncated: boolean[] = [];
  for (const [row, text] of texts.entries()) {
    if (typeof text !== "string")
      throw new TorchclipError("E_ARGUMENT", `text ${row} is not a string`, { index: row });
    let ids = encodeRow(tokenizer, text, row);
    truncated.push(ids.length > length);
    if (ids.length > length) {
      if (options.truncate !== "end") throw tooLong(text, row, ids.length, length);
      ids = endId === null ? ids.slice(0, length) : [...ids.slice(0, length - 1), endId];
    }
    if (stripEnd) ids = ids.map((id) => (id === endId ? padId : id));
    data.set(ids, row * length);
  }
  return { data, rows: texts.length, length, truncated };
}

function tooLong(text: string, row: number, tokens: number, length: number): TorchclipError {
  const start = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return new TorchclipError(
    "E_TEXT_TOO_LONG",
    `text ${row} has ${tokens} tokens, more than the context of ${length}: ` +
      `"${start}" (truncate: "end" cuts it)`,
    { index: row, subject: text },
  );
}

/** A tokenizer's error, with the text's index. */
function encodeRow(tokenizer: Tokenizer, text: string, row: number): number[] {
  try {
    return tokenizer.encode(text);
  } catch (error) {
    if (!(error instanceof TorchclipError)) throw error;
    throw new TorchclipError(error.code, `text ${row}: ${error.message}`, { index: row, cause: error });
  }
}
