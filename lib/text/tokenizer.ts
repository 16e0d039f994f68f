import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { TorchclipError } from "../errors.js";
import type { TokenizerConfig } from "../models/config.js";
import { BpeTokenizer, type TokenizerJson } from "./bpe.js";
import { useOwnNormalizers, type PackageNormalizer } from "./normalizers.js";
import { cleanText } from "./clean.js";

/** A text to token ids: cleaned as the model's reference does it, start and end tokens included, not cut, not padded. */
export interface Tokenizer {
  readonly config: TokenizerConfig;
  encode(text: string): number[];
}

/** The tokenizer of an artifact: its tokenizer.json read as `config` says. */
export function makeTokenizer(json: TokenizerJson, config: TokenizerConfig): Tokenizer {
  try {
    const ids = config.kind === "clip" ? clipIds(json, config) : huggingFaceIds(json);
    return { config, encode: (text) => ids(cleanText(text, config.clean)) };
  } catch (cause) {
    throw new TorchclipError("E_MODEL_CORRUPT", `tokenizer.json is no tokenizer that can be read: ${(cause as Error).message}`, { cause });
  }
}

function clipIds(json: TokenizerJson, { dialect, clean }: TokenizerConfig): (text: string) => number[] {
  const bpe = new BpeTokenizer(json, dialect ?? (clean === "openai" ? "openai" : "transformers"));
  return (text) => bpe.encode(text);
}

/** The package's own types name files without extensions, which Node's resolution does not find. */
interface Encoder {
  normalizer: PackageNormalizer | null;
  encode(text: string): { ids: number[] };
}

function huggingFaceIds(json: TokenizerJson): (text: string) => number[] {
  const tokenizer = new (HuggingFaceTokenizer as unknown as new (json: object, config: object) => Encoder)(json, {});
  useOwnNormalizers(tokenizer.normalizer);
  return (text) => tokenizer.encode(text).ids;
}

/** How many ids a tokenizer.json knows: one more than the highest. */
export function vocabularySize(json: TokenizerJson): number {
  const vocab = json.model.vocab as Record<string, number> | [string, number][] | undefined;
  const added = (json.added_tokens ?? []).map((t) => t.id + 1);
  const own = Array.isArray(vocab) ? vocab.length : Math.max(0, ...maxima(Object.values(vocab ?? {}).map((id) => id + 1)));
  return Math.max(own, ...added, 0);
}

/** The largest of a long list, without spreading all of it onto the stack. */
function maxima(values: number[]): number[] {
  let most = 0;
  for (const v of values) if (v > most) most = v;
  return [most];
}

/** Id of the first of these tokens that the tokenizer has. */
export function tokenId(json: TokenizerJson, names: readonly string[]): number | undefined {
  const vocab = json.model.vocab as Record<string, number> | [string, number][] | undefined;
  for (const name of names) {
    const added = json.added_tokens?.find((t) => t.content === name);
    if (added) return added.id;
    if (Array.isArray(vocab)) {
      const at = vocab.findIndex(([piece]) => piece === name);
      if (at >= 0) return at;
    } else if (vocab && Object.hasOwn(vocab, name)) {
      return vocab[name];
    }
  }
  return undefined;
}

/** Whether a tokenizer.json is CLIP's own BPE, which runs on the faster code of ./bpe.ts. */
export function isClipBpe(json: TokenizerJson): boolean {
  const model = json.model as { type?: string; end_of_word_suffix?: string };
  return (model.type ?? "BPE") === "BPE" && model.end_of_word_suffix === "</w>";
}
