import { kindOf, shown, Untrusted, type JsonObject } from "../util/untrusted.js";
import type { TokenizerJson } from "./types.js";

/** Published tokenizers have up to 256,000 tokens of up to 64 characters. */
const MOST_ID = 1 << 24;
const MOST_TOKEN = 1024;
/** A Unigram model's pieces become a tree of letters, 200 bytes each. */
const MOST_PIECE = 128;
const MOST_PIECE_LETTERS = 3 << 20;
/** The longest added token, characters. */
const MOST_ADDED = 256;
const MOST_ADDED_LETTERS = 1 << 19;
/** Steps of normaliser, pre-tokeniser and post-processor together. */
const MOST_STEPS = 64;
const MOST_PATTERN = 2048;
const MOST_GROUPS = 16;
const MOST_CONTENT = 256;
/** A text may become this many times longer on its way to tokens. */
const MOST_GROWTH = 64;
const MOST_TEMPLATE = 16;
const MOST_WORD = 256;

/**
 * Checks a tokenizer.json before anything is built of it: types, sizes, and that no chain of rules can make a
 * text many times longer. How long an expression takes cannot be seen from it; `withTimeLimit` is for that.
 * `file` is named by the error (E_MODEL_CORRUPT). Returns its argument.
 */
export function checkTokenizer(value: unknown, file = "tokenizer.json"): TokenizerJson {
  const check = new Untrusted("E_MODEL_CORRUPT", file);
  const json = check.object(value, "the tokenizer");
  checkModel(check.object(json.model, "model"), check);
  checkAddedTokens(json.added_tokens ?? [], check);
  new Steps(check).all(json);
  return json as unknown as TokenizerJson;
}

/** The type of a tokenizer.json's model; older files do not name it. */
export function modelType(model: JsonObject): string {
  if (typeof model.type === "string") return model.type;
  if (Array.isArray(model.vocab)) return "Unigram";
  return "merges" in model ? "BPE" : "WordPiece";
}

function checkModel(model: JsonObject, check: Untrusted): void {
  const type = modelType(model);
  if (model.unk_token !== undefined && model.unk_token !== null)
    check.text(model.unk_token, "model.unk_token", MOST_TOKEN);
  for (const key of ["end_of_word_suffix", "continuing_subword_suffix", "continuing_subword_prefix"]) {
    if (model[key] !== undefined && model[key] !== null) check.text(model[key], `model.${key}`, 16);
  }
  if (type === "Unigram") {
    checkPieces(model, check);
    return;
  }
  for (const [token, id] of Object.entries(check.object(model.vocab, "model.vocab"))) {
    if (token.length > MOST_TOKEN) throw check.error(`model.vocab has a token of ${token.length} characters`);
    check.count(id, `the id of ${shown(token)}`, 0, MOST_ID);
  }
  if (type === "BPE") checkMerges(model.merges, check);
  if (type === "WordPiece" && model.max_input_chars_per_word !== undefined) {
    check.count(model.max_input_chars_per_word, "model.max_input_chars_per_word", 1, MOST_WORD);
  }
}

function checkMerges(value: unknown, check: Untrusted): void {
  for (const merge of check.array(value, "model.merges")) {
    const parts = typeof merge === "string" ? [merge] : check.array(merge, "a merge", 2);
    if (typeof merge !== "string" && parts.length !== 2) throw check.error("a merge has one part");
    for (const part of parts) check.text(part, "a merge", 2 * MOST_TOKEN);
  }
}

/** Unigram: [piece, score] by id. */
function checkPieces(model: JsonObject, check: Untrusted): void {
  const pieces = check.array(model.vocab, "model.vocab", MOST_ID);
  if (pieces.length === 0) throw check.error("model.vocab is empty");
  let letters = 0;
  for (const piece of pieces) {
    const [text, score] = check.array(piece, "a piece of model.vocab");
    letters += check.text(text, "a piece of model.vocab", MOST_PIECE).length;
    check.number(score, "the score of a piece");
  }
  if (letters > MOST_PIECE_LETTERS)
    throw check.error(`the pieces have ${letters} characters, more than ${MOST_PIECE_LETTERS}`);
  if (model.unk_id !== null && model.unk_id !== undefined)
    check.count(model.unk_id, "model.unk_id", 0, pieces.length - 1);
}

function checkAddedTokens(value: unknown, check: Untrusted): void {
  let letters = 0;
  for (const item of check.array(value, "added_tokens")) {
    const token = check.object(item, "an added token");
    const content = check.text(token.content, "the content of an added token", MOST_ADDED);
    letters += content.length;
    check.count(token.id, `the id of ${shown(content)}`, 0, MOST_ID);
  }
  if (letters > MOST_ADDED_LETTERS)
    throw check.error(`added_tokens have ${letters} characters, more than ${MOST_ADDED_LETTERS}`);
}

/**
 * Normaliser, pre-tokeniser and post-processor: how many steps they take, and how much longer a text can
 * become.
 */
class Steps {
  private count = 0;
  private growth = 1;

  constructor(private readonly check: Untrusted) {}

  all(json: JsonObject): void {
    this.walk(json.normalizer, "normalizer", "normalizers");
    this.walk(json.pre_tokenizer, "pre_tokenizer", "pretokenizers");
    this.walk(json.post_processor, "post_processor", "processors");
  }

  private walk(value: unknown, what: string, inner: string): void {
    if (value === null || value === undefined) return;
    const step = this.check.object(value, what);
    if (++this.count > MOST_STEPS) throw this.check.error(`it has more than ${MOST_STEPS} steps`);
    const type = this.check.text(step.type, `${what}.type`, 64);
    if (type === "Sequence") {
      const items = this.check.array(step[inner] ?? [], `${what}.${inner}`, MOST_STEPS);
      for (const [i, item] of items.entries()) this.walk(item, `${what}.${inner}[${i}]`, inner);
    } else {
      this.step(type, step, what);
    }
  }

  private step(type: string, step: JsonObject, what: string): void {
    const { check } = this;
    switch (type) {
      case "Replace":
        this.grow(replaceGrowth(step, what, check), what);
        return;
      case "Split":
        checkPattern(step.pattern, `${what}.pattern`, check);
        if (step.behavior !== undefined) check.text(step.behavior, `${what}.behavior`, 64);
        return;
      case "Prepend":
        check.text(step.prepend, `${what}.prepend`, 16);
        return;
      case "Metaspace":
        this.grow(metaspaceGrowth(step, what, check), what);
        return;
      case "BertNormalizer": // spaces around CJK letters
      case "ByteLevel": // a letter for each byte of UTF-8
        if (!what.startsWith("post_processor")) this.grow(3, what);
        return;
      case "FixedLength":
        check.count(step.length, `${what}.length`, 1);
        return;
      case "TemplateProcessing":
        checkTemplate(step, what, check);
        return;
      case "BertProcessing":
      case "RobertaProcessing":
        for (const key of ["sep", "cls"])
          check.text(check.array(step[key], `${what}.${key}`, 2)[0], `${what}.${key}[0]`, MOST_ADDED);
    }
  }

  private grow(factor: number, what: string): void {
    this.growth *= factor;
    if (this.growth > MOST_GROWTH)
      throw this.check.error(`a text can become ${MOST_GROWTH} times longer, by ${what}`);
  }
}

/** How many times longer a Replace rule can make a text; an expression may match before every letter. */
function replaceGrowth(step: JsonObject, what: string, check: Untrusted): number {
  const content = check.text(step.content ?? "", `${what}.content`, MOST_CONTENT);
  const { literal } = checkPattern(step.pattern, `${what}.pattern`, check);
  if (literal !== undefined) return Math.max(1, content.length / literal.length);
  return 1 + content.length;
}

/** How many times longer a Metaspace rule can make a text: by what stands for a space. */
function metaspaceGrowth(step: JsonObject, what: string, check: Untrusted): number {
  let most = 1;
  for (const key of ["replacement", "str_rep"]) {
    const text = step[key];
    if (text === undefined || text === null) continue;
    most = Math.max(most, check.text(text, `${what}.${key}`, 8).length);
  }
  return most;
}

function checkPattern(value: unknown, what: string, check: Untrusted): { literal?: string } {
  const pattern = check.object(value, what);
  if (pattern.Regex !== undefined) {
    const expression = check.text(pattern.Regex, `${what}.Regex`, MOST_PATTERN);
    // `split` gives as many pieces for a match as the expression has groups.
    const groups = expression.match(/\((?!\?)/g)?.length ?? 0;
    if (groups > MOST_GROUPS)
      throw check.error(`${what}.Regex has ${groups} groups, more than ${MOST_GROUPS}`);
    return {};
  }
  const literal = check.text(pattern.String, `${what}.String`, MOST_CONTENT);
  if (literal === "") throw check.error(`${what}.String is empty`);
  return { literal };
}

/** The text once, and special tokens around it. */
function checkTemplate(step: JsonObject, what: string, check: Untrusted): void {
  let texts = 0;
  for (const value of check.array(step.single, `${what}.single`, MOST_TEMPLATE)) {
    const item = check.object(value, `an item of ${what}.single`);
    if (item.SpecialToken !== undefined) {
      check.text(
        check.object(item.SpecialToken, `a SpecialToken of ${what}`).id,
        `a SpecialToken of ${what}`,
        MOST_ADDED,
      );
    } else if (item.Sequence !== undefined) {
      check.choice(
        check.object(item.Sequence, `a Sequence of ${what}`).id,
        ["A"],
        `a Sequence of ${what}.single`,
      );
      texts++;
    } else {
      throw check.error(
        `an item of ${what}.single is neither a SpecialToken nor a Sequence but ${kindOf(value)}`,
      );
    }
  }
  if (texts > 1) throw check.error(`${what}.single holds the text ${texts} times`);
}
