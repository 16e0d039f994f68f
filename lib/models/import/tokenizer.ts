import { TorchclipError } from "../../errors.js";
import { checkTokenizer } from "../../text/check-tokenizer.js";
import { clipTokenizerJson } from "../../text/clip-vocabulary.js";
import { readSentencePiece } from "../../text/sentencepiece.js";
import { isClipBpe, makeTokenizer, tokenId, vocabularySize } from "../../text/tokenizer.js";
import type { AddedToken, TokenizerConfig, TokenizerJson } from "../../text/types.js";
import { readJsonFile } from "../../util/json.js";
import { isObject, Untrusted, type JsonObject } from "../../util/untrusted.js";
import type { ModelConfig } from "../config-types.js";
import type { Hints } from "./checkpoint-config.js";
import { objectOf } from "./config-values.js";
import { checkFields, unsupportedField } from "./fields.js";

const CLIP_VOCABULARY = 49408;

export interface TokenizerSource {
  /** tokenizer.json, or a SentencePiece model. */
  tokenizer?: string;
  /** tokenizer_config.json. */
  tokenizerConfig?: string;
}

/**
 * The tokenizer.json of the artifact and how it is used. `layout`: the published layout of the text encoder's
 * keys. Throws E_MODEL_CORRUPT where it does not fit the model, E_MODEL_UNSUPPORTED for what its config asks
 * for and is not known.
 */
export async function readTokenizer(
  source: TokenizerSource,
  layout: string | undefined,
  text: ModelConfig["text"],
  hints: Pick<Hints, "clean" | "dialect" | "stripEnd" | "text">,
): Promise<{ json: TokenizerJson; config: TokenizerConfig }> {
  const file = source.tokenizer;
  const isClips = layout !== "huggingface" && text.vocabSize === CLIP_VOCABULARY;
  const ownFile = file === undefined || isClips ? undefined : file;
  const beside = ownFile === undefined ? undefined : await readBeside(source.tokenizerConfig);
  const json = await readJson(ownFile);
  if (beside) {
    addTokens(json, beside);
    checkNormalizer(json, beside);
  }
  const count = vocabularySize(json);
  // Embeddings may be padded to a round number, never be fewer than the tokens.
  if (count > text.vocabSize || (ownFile === undefined && count !== text.vocabSize)) {
    throw new TorchclipError(
      "E_MODEL_CORRUPT",
      `${ownFile ?? "CLIP's own vocabulary"} has ${count} tokens, ` +
        `the model's embedding has ${text.vocabSize} rows` +
        (file === undefined ? "; put its tokenizer.json beside it" : ""),
      { subject: file },
    );
  }
  const config = isClipBpe(json)
    ? clipConfig(json, hints)
    : otherConfig(json, text, hints, beside?.fields, file);
  const first = makeTokenizer(json, config).encode("a"); // refuses what cannot be used
  if (beside) checkEnds(first, json, beside);
  return { json, config };
}

/** A tokenizer_config.json, its fields checked. */
interface TokenizerFields {
  fields: JsonObject;
  file: string;
}

async function readBeside(file: string | undefined): Promise<TokenizerFields | undefined> {
  if (file === undefined) return undefined;
  const fields = await readJsonFile(file);
  checkFields("tokenizer", fields, file);
  return { fields, file };
}

/** The tokenizer.json that a file holds or is converted to; CLIP's own where there is none. */
async function readJson(file: string | undefined): Promise<TokenizerJson> {
  if (file === undefined) return clipTokenizerJson();
  if (file.endsWith(".json")) return checkTokenizer(await readJsonFile(file), file);
  return readSentencePiece(file);
}

function clipConfig(json: TokenizerJson, hints: Pick<Hints, "clean" | "dialect">): TokenizerConfig {
  const clean = hints.clean ?? "openai";
  const dialect = hints.dialect ?? (clean === "openai" ? "openai" : "transformers");
  // The text encoder is causal: what fills a row after its end does not matter.
  return {
    kind: "clip",
    dialect,
    clean,
    padId: 0,
    endId: tokenId(json, ["<|endoftext|>"]) ?? vocabularySize(json) - 1,
  };
}

function otherConfig(
  json: TokenizerJson,
  text: ModelConfig["text"],
  hints: Pick<Hints, "clean" | "stripEnd" | "text">,
  beside: JsonObject | undefined,
  file: string | undefined,
): TokenizerConfig {
  const clean = cleaning(json, hints.clean, beside, file);
  return {
    kind: "huggingface",
    clean,
    padId: paddingId(json, clean, text, hints, beside),
    endId: tokenId(json, ["</s>", "<eos>", "[SEP]"]) ?? null,
    ...(hints.stripEnd ? { stripEnd: true } : {}),
  };
}

/**
 * SigLIP 2 of fixed size calls itself "siglip" and has Gemma's tokenizer, which takes nothing out of a text.
 */
function cleaning(
  json: TokenizerJson,
  said: TokenizerConfig["clean"] | undefined,
  beside: JsonObject | undefined,
  file: string | undefined,
): TokenizerConfig["clean"] {
  if (said === "openai") return "whitespace"; // open_clip with a tokenizer of transformers
  if (said !== "siglip") return said ?? "none";
  const named = beside?.tokenizer_class;
  const siglip =
    typeof named === "string"
      ? /^Siglip(Tokenizer|TokenizerFast)$/.test(named)
      : !file?.endsWith(".json") || json.model.type === "Unigram";
  return siglip ? "siglip" : "lower";
}

/**
 * What fills a row after its end: the tokenizer's own pad_token, else what models of this kind were trained
 * with.
 */
function paddingId(
  json: TokenizerJson,
  clean: TokenizerConfig["clean"],
  text: ModelConfig["text"],
  hints: Pick<Hints, "text">,
  beside: JsonObject | undefined,
): number {
  const named = contentOf(beside?.pad_token);
  const said = named === undefined ? undefined : tokenId(json, [named]);
  if (said !== undefined) return said;
  if (hints.text.padId !== undefined) return hints.text.padId;
  if (text.kind === "roberta") return text.padId;
  // SigLIP pads with the end token (SiglipTokenizer of transformers, big_vision), although its vocabulary has
  // a "<pad>"; SigLIP 2, whose end is "<eos>", with "<pad>".
  const siglip = clean === "siglip" || clean === "canonicalize";
  return tokenId(json, siglip ? ["</s>", "<pad>"] : ["<pad>", "[PAD]"]) ?? 0;
}

/** A token of tokenizer_config.json: its content, or an object with it. */
function contentOf(token: unknown): string | undefined {
  if (typeof token === "string") return token;
  const content = isObject(token) ? token.content : undefined;
  return typeof content === "string" ? content : undefined;
}

/**
 * The tokens that tokenizer_config.json adds win over those of tokenizer.json
 * (PreTrainedTokenizerFast.__init__), whose options may be others.
 */
function addTokens(json: TokenizerJson, { fields, file }: TokenizerFields): void {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const decoder = check.object(fields.added_tokens_decoder ?? {}, "added_tokens_decoder");
  json.added_tokens ??= [];
  for (const [key, value] of Object.entries(decoder)) {
    const token = addedToken(key, value, json, file);
    const at = json.added_tokens.findIndex(({ content }) => content === token.content);
    if (at < 0) json.added_tokens.push(token);
    else json.added_tokens[at] = token;
  }
  const special: unknown = fields.additional_special_tokens;
  for (const token of Array.isArray(special) ? (special as unknown[]) : []) {
    const content = contentOf(token);
    if (content === undefined || tokenId(json, [content]) === undefined) {
      throw unsupportedField(file, "additional_special_tokens", token, "the tokenizer has no such token");
    }
  }
}

/** An entry of added_tokens_decoder; its id must be the one that the tokenizer has for it, if it has one. */
function addedToken(key: string, value: unknown, json: TokenizerJson, file: string): AddedToken {
  const fields = objectOf(value);
  const { content } = fields;
  const id = Number(key);
  const known = typeof content === "string" ? tokenId(json, [content]) : undefined;
  if (!Number.isInteger(id) || typeof content !== "string" || (known !== undefined && known !== id)) {
    throw new TorchclipError(
      "E_MODEL_CORRUPT",
      `${file}: token ${key} ("${String(content)}") has another id in the tokenizer`,
      { subject: file },
    );
  }
  return { ...fields, content, id };
}

/** BERT's and SigLIP's classes change the tokenizer's normaliser by these fields: they must agree with it. */
function checkNormalizer({ normalizer }: TokenizerJson, { fields, file }: TokenizerFields): void {
  const named = fields.tokenizer_class;
  const siglip = typeof named === "string" && named.startsWith("Siglip");
  if (siglip && fields.do_lower_case === false)
    throw unsupportedField(file, "do_lower_case", false, "SigLIP's texts are lower case");
  if (!isObject(normalizer) || normalizer.type !== "BertNormalizer") return;
  const pairs = {
    do_lower_case: "lowercase",
    strip_accents: "strip_accents",
    tokenize_chinese_chars: "handle_chinese_chars",
  };
  for (const [field, own] of Object.entries(pairs)) {
    const value = fields[field];
    if (value !== undefined && value !== null && value !== normalizer[own])
      throw unsupportedField(file, field, value, "tokenizer.json says otherwise");
  }
}

/** `ids`: of any text. add_bos_token and add_eos_token must say what the tokenizer does. */
function checkEnds(ids: number[], json: TokenizerJson, { fields, file }: TokenizerFields): void {
  const ends = [
    ["add_bos_token", "bos_token", ids[0]],
    ["add_eos_token", "eos_token", ids.at(-1)],
  ] as const;
  for (const [field, token, found] of ends) {
    const name = contentOf(fields[token]);
    const id = name === undefined ? undefined : tokenId(json, [name]);
    const said = fields[field];
    if (typeof said !== "boolean" || id === undefined) continue;
    if (said !== (found === id)) throw unsupportedField(file, field, said, "tokenizer.json says otherwise");
  }
}
