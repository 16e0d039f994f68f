import { AddedTokens } from "./added-tokens.js";
import { normalizeText } from "./clean.js";
import { Merger } from "./merger.js";
import type { ClipDialect, TokenizerJson } from "./types.js";

export const START = "<|startoftext|>";
export const END = "<|endoftext|>";

/** What stands for the start and the end in a text. */
const LITERALS: Record<ClipDialect, readonly [string, string]> = {
  openai: [START, END],
  open_clip: ["<start_of_text>", "<end_of_text>"],
  transformers: [START, END],
};

/**
 * Words as CLIP cuts them; the text is lower case and its white space single by then. White space is
 * Unicode's, as in the references: U+0085 is, U+FEFF is not. U+0345 is in no word of openai/CLIP and
 * open_clip: they match without regard to case, for which it is a letter to the last part and none to the
 * first.
 */
const WORDS: Record<ClipDialect, RegExp> = {
  openai: wordPattern(["<\\|startoftext\\|>", "<\\|endoftext\\|>"], "\\u0345"),
  open_clip: wordPattern(["<start_of_text>", "<end_of_text>"], "\\u0345"),
  transformers: wordPattern([], ""),
};

/** Expressions for literal words, endings, letters, one digit, and what is neither, without `excluded`. */
function wordPattern(literals: readonly string[], excluded: string): RegExp {
  const endings = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
  const others = `[^\\p{White_Space}\\p{L}\\p{N}${excluded}]+`;
  return new RegExp([...literals, ...endings, "\\p{L}+", "\\p{N}", others].join("|"), "gu");
}

const CACHE_LIMIT = 65536;
/** Letters of a word that is remembered; longer ones hardly come twice and would fill the memory. */
const CACHED_LETTERS = 64;

/**
 * CLIP's byte-level BPE (openai/CLIP, clip/simple_tokenizer.py; Hugging Face's CLIPTokenizerFast): the
 * vocabulary and merges come from a `tokenizer.json`.
 */
export class BpeTokenizer {
  readonly startId: number;
  readonly endId: number;
  readonly vocabSize: number;
  private readonly vocab: Map<string, number>;
  private readonly merger: Merger;
  private readonly cache = new Map<string, number[]>();

  private readonly raw: AddedTokens | undefined;
  private readonly normalized: AddedTokens | undefined;

  constructor(
    json: TokenizerJson,
    private readonly dialect: ClipDialect = "transformers",
  ) {
    this.vocab = new Map(Object.entries(json.model.vocab));
    this.merger = new Merger(json.model.merges);
    let highest = -1;
    for (const id of this.vocab.values()) highest = Math.max(highest, id);
    this.vocabSize = highest + 1;
    const end = this.vocab.get(END);
    if (end === undefined) throw new Error(`it has no token ${END}`);
    this.endId = end;
    this.startId = this.id(START);
    if (dialect === "transformers") {
      this.raw = new AddedTokens(json, false);
      this.normalized = new AddedTokens(json, true, normalizeText);
    }
  }

  /**
   * The ids of a text, start and end included, not cut. The dialect "transformers" normalises it itself, the
   * others take it as it is.
   */
  encode(text: string): number[] {
    const ids = [this.startId];
    if (!this.raw || !this.normalized) {
      this.words(text, ids);
    } else {
      for (const piece of this.raw.split(text)) {
        if ("id" in piece) {
          ids.push(piece.id);
          continue;
        }
        for (const part of this.normalized.split(normalizeText(piece.text))) {
          if ("id" in part) ids.push(part.id);
          else this.words(part.text, ids);
        }
      }
    }
    ids.push(this.endId);
    return ids;
  }

  private words(text: string, ids: number[]): void {
    for (const word of text.match(WORDS[this.dialect]) ?? []) for (const id of this.word(word)) ids.push(id);
  }

  private id(token: string): number {
    // As the reference: what the vocabulary lacks (never with all bytes in it) reads as the end token.
    return this.vocab.get(token) ?? this.endId;
  }

  /** The id of a word that stands for the start or the end; undefined for any other word. */
  private literalId(word: string): number | undefined {
    if (this.dialect === "transformers") return undefined;
    const [start, end] = LITERALS[this.dialect];
    if (word === start) return this.startId;
    return word === end ? this.endId : undefined;
  }

  private word(word: string): number[] {
    const known = this.cache.get(word);
    if (known) return known;
    const literal = this.literalId(word);
    const ids =
      literal === undefined ? this.merger.merge(bytesAsText(word)).map((t) => this.id(t)) : [literal];
    if (word.length > CACHED_LETTERS) return ids;
    if (this.cache.size >= CACHE_LIMIT) this.cache.clear();
    this.cache.set(word, ids);
    return ids;
  }
}

// GPT-2's map of bytes to printable letters (bytes_to_unicode): printable bytes are themselves, in the order
// of CLIP's vocabulary first; the others get letters from U+0100 on.
const PRINTABLE = [range(33, 126), range(161, 172), range(174, 255)].flat();
const OTHERS = range(0, 255).filter((b) => !PRINTABLE.includes(b));
const VOCABULARY: readonly (readonly [byte: number, letter: string])[] = [
  ...PRINTABLE.map((byte) => [byte, String.fromCharCode(byte)] as const),
  ...OTHERS.map((byte, i) => [byte, String.fromCharCode(256 + i)] as const),
];
const LETTER_OF_BYTE = VOCABULARY.toSorted(([a], [b]) => a - b).map(([, letter]) => letter);
const utf8 = new TextEncoder();

/** The letters of all bytes in the order of CLIP's vocabulary. */
export function byteVocabulary(): string[] {
  return VOCABULARY.map(([, letter]) => letter);
}

function bytesAsText(word: string): string[] {
  return Array.from(utf8.encode(word), (byte) => LETTER_OF_BYTE[byte] ?? "");
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
