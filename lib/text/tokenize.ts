import { TorchclipError } from "../errors.js";
import type { BpeTokenizer } from "./bpe.js";

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

/** Rows of start, text, end, then zeros, as openai/CLIP's `clip.tokenize`. Throws E_TEXT_TOO_LONG with the text's index. */
export function tokenize(tokenizer: BpeTokenizer, texts: readonly string[], length: number, options: TokenizeOptions = {}): Tokens {
  const data = new Int32Array(texts.length * length);
  const truncated: boolean[] = [];
  texts.forEach((text, row) => {
    if (typeof text !== "string") throw new TorchclipError("E_ARGUMENT", `text ${row} is not a string`, { index: row });
    let ids = tokenizer.encode(text);
    truncated.push(ids.length > length);
    if (ids.length > length) {
      if (options.truncate !== "end") {
        const shown = text.length > 60 ? `${text.slice(0, 60)}…` : text;
        throw new TorchclipError(
          "E_TEXT_TOO_LONG",
          `text ${row} has ${ids.length} tokens, more than the context of ${length}: "${shown}" (truncate: "end" cuts it)`,
          {
            index: row,
            subject: text,
          },
        );
      }
      ids = [...ids.slice(0, length - 1), tokenizer.endId];
    }
    data.set(ids, row * length);
  });
  return { data, rows: texts.length, length, truncated };
}
