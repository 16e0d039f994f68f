import { createRequire } from "node:module";
import { TorchclipError } from "../errors.js";
import { TimeLimitError, withTimeLimit } from "../util/time-limit.js";
import { shown, Untrusted } from "../util/untrusted.js";
import { BpeTokenizer } from "./bpe.js";
import { checkTokenizer, modelType } from "./check-tokenizer.js";
import { cleanText } from "./clean.js";
import { useOwnNormalizers, type PackageNormalizer } from "./normalizers.js";
import type { TokenizerConfig, TokenizerJson } from "./types.js";

/**
 * A text to token ids: cleaned as the model's reference does it, start and end tokens included, not cut, not
 * padded.
 */
export interface Tokenizer {
  readonly config: TokenizerConfig;
  encode(text: string): number[];
}

/** The text of a tokenizer.json as the tokenizer that it is; E_MODEL_CORRUPT where it is none. */
export function parseTokenizer(text: string, file = "the artifact's tokenizer.json"): TokenizerJson {
  return checkTokenizer(new Untrusted("E_MODEL_CORRUPT", file).json(text), file);
}

/** The tokenizer of an artifact: its tokenizer.json, checked, read as `config` says. */
export function makeTokenizer(json: TokenizerJson, config: TokenizerConfig): Tokenizer {
  try {
    const ids = config.kind === "clip" ? clipIds(json, config) : huggingFaceIds(json);
    return { config, encode: (text) => ids(cleanText(text, config.clean)) };
  } catch (cause) {
    if (cause instanceof TorchclipError) throw cause;
    throw new TorchclipError(
      "E_MODEL_CORRUPT",
      `tokenizer.json is no tokenizer that can be read: ${shown((cause as Error).message)}`,
      { cause },
    );
  }
}

function clipIds(json: TokenizerJson, { dialect, clean }: TokenizerConfig): (text: string) => number[] {
  const bpe = new BpeTokenizer(json, dialect ?? (clean === "openai" ? "openai" : "transformers"));
  return (text) => bpe.encode(text);
}

const require = createRequire(import.meta.url);

/** The package's own types name files without extensions, which Node's resolution does not find. */
interface HuggingFacePackage {
  Tokenizer: new (json: object, config: object) => Encoder;
}

interface Encoder {
  normalizer: PackageNormalizer | null;
  encode(text: string): { ids: unknown[] };
}

/** Tokenizers take microseconds a character; this is for those whose expressions never end. */
const LIMIT_MS = 2000;
const LIMIT_MS_PER_CHARACTER = 0.05;
const BUILD_LIMIT_MS = 10_000;
const BUILD_LIMIT_MS_PER_TOKEN = 0.05;
/** Above it, a text that the library cannot hold is too long; below, the tokenizer is at fault. */
const LONG_TEXT = 20_000;

/**
 * A tokenizer of transformers. It is told by its file which regular expressions to run, so that everything
 * happens under a time limit: E_MODEL_UNSAFE when it is over.
 */
function huggingFaceIds(json: TokenizerJson): (text: string) => number[] {
  // Tokens are never decoded here, and a decoder may have expressions of its own.
  const usable = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    ...json,
    decoder: null,
  };
  const buildLimit = BUILD_LIMIT_MS + BUILD_LIMIT_MS_PER_TOKEN * vocabularySize(json);
  // Loaded by the first tokenizer of its kind: CLIP's own does not need it.
  const { Tokenizer } = require("@huggingface/tokenizers") as HuggingFacePackage;
  const tokenizer = limited(() => new Tokenizer(usable, {}), Math.ceil(buildLimit), "to be built");
  useOwnNormalizers(tokenizer.normalizer);
  return (text) => {
    const limit = Math.ceil(LIMIT_MS + LIMIT_MS_PER_CHARACTER * text.length);
    try {
      return limited(
        () => tokenizer.encode(text).ids.map(checkedId),
        limit,
        `for a text of ${text.length} characters`,
      );
    } catch (cause) {
      if (cause instanceof TorchclipError) throw cause;
      const why = shown((cause as Error).message);
      if (cause instanceof RangeError && text.length > LONG_TEXT)
        throw new TorchclipError(
          "E_TEXT_TOO_LONG",
          `a text of ${text.length} characters cannot be tokenized: ${why}`,
          { cause },
        );
      throw new TorchclipError(
        "E_MODEL_CORRUPT",
        `tokenizer.json fails on a text of ${text.length} characters: ${why}`,
        { cause },
      );
    }
  };
}

function limited<T>(work: () => T, milliseconds: number, forWhat: string): T {
  try {
    return withTimeLimit(work, milliseconds);
  } catch (cause) {
    if (!(cause instanceof TimeLimitError)) throw cause;
    throw new TorchclipError(
      "E_MODEL_UNSAFE",
      `tokenizer.json takes more than ${milliseconds} ms ${forWhat}: its expressions may never end`,
      { cause },
    );
  }
}

/** A token that the vocabulary lacks has no id where it has no unknown token either. */
function checkedId(id: unknown): number {
  if (!Number.isSafeInteger(id) || (id as number) < 0) throw new Error("it gives a token that has no id");
  return id as number;
}

/** How many ids a tokenizer.json knows: one more than the highest. */
export function vocabularySize(json: TokenizerJson): number {
  const vocab = json.model.vocab as Record<string, number> | [string, number][];
  let size = Array.isArray(vocab) ? vocab.length : 0;
  if (!Array.isArray(vocab)) for (const id of Object.values(vocab)) size = Math.max(size, id + 1);
  for (const { id } of json.added_tokens ?? []) size = Math.max(size, id + 1);
  return size;
}

/** Id of the first of these tokens that the tokenizer has. */
export function tokenId(json: TokenizerJson, names: readonly string[]): number | undefined {
  const vocab = json.model.vocab as Record<string, number> | [string, number][];
  for (const name of names) {
    const added = json.added_tokens?.find((t) => t.content === name);
    if (added) return added.id;
    if (Array.isArray(vocab)) {
      const at = vocab.findIndex(([piece]) => piece === name);
      if (at >= 0) return at;
    } else if (Object.hasOwn(vocab, name)) {
      return vocab[name];
    }
  }
  return undefined;
}

/** Whether a tokenizer.json is CLIP's own BPE, which runs on the faster code of ./bpe.ts. */
export function isClipBpe(json: TokenizerJson): boolean {
  return modelType(json.model) === "BPE" && json.model.end_of_word_suffix === "</w>";
}
