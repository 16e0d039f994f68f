import { TorchclipError } from "../errors.js";
import { MAP_ENTRY_BYTES, OBJECT_BYTES } from "../models/formats/budget.js";
import { ProtobufFile, type Field } from "../models/formats/protobuf.js";
import { shown } from "../util/untrusted.js";
import { checkTokenizer } from "./check-tokenizer.js";
import type { AddedToken, TokenizerJson } from "./types.js";

interface Piece {
  text: string;
  score: number;
  type: number;
}

const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const BYTE = 6;
const UNIGRAM = 1;
const SPACE = "▁";

/**
 * A SentencePiece model (sentencepiece_model.proto) as a tokenizer.json, as transformers converts it
 * (convert_slow_tokenizer.py, SpmConverter): Unigram with the model's own character map, an end token after
 * the text.
 */
export async function readSentencePiece(file: string): Promise<TokenizerJson> {
  const input = await ProtobufFile.open(file);
  try {
    const pieces: Piece[] = [];
    const trainer = new Map<number, bigint>();
    const normalizer = new Map<number, bigint>();
    let charsmap: Buffer = Buffer.alloc(0);
    // ModelProto: pieces = 1, trainer_spec = 2, normalizer_spec = 3
    for await (const field of input.fields(0, input.size)) {
      if (field.number === 1) pieces.push(await readPiece(input, field));
      else if (field.number === 2) await readNumbers(input, field, trainer);
      else if (field.number === 3) {
        await readNumbers(input, field, normalizer);
        for await (const inner of input.fields(field.offset, field.bytes))
          if (inner.number === 2) charsmap = await input.read(inner);
      }
    }
    if (!pieces.length) throw new Error("it has no pieces");
    // TrainerSpec: model_type = 3
    if (Number(trainer.get(3) ?? 1n) !== UNIGRAM) {
      throw new TorchclipError(
        "E_MODEL_UNSUPPORTED",
        `${file} is no Unigram model; convert it to tokenizer.json ` +
          "(transformers: AutoTokenizer.save_pretrained)",
        { subject: file },
      );
    }
    return checkTokenizer(toTokenizerJson(pieces, charsmap, normalizer), file);
  } catch (error) {
    if (error instanceof TorchclipError) throw error;
    const why = shown((error as Error).message);
    throw new TorchclipError("E_MODEL_CORRUPT", `${file} is no readable SentencePiece model: ${why}`, {
      subject: file,
      cause: error,
    });
  } finally {
    await input.close();
  }
}

/** SentencePiece: piece = 1, score = 2, type = 3 */
async function readPiece(input: ProtobufFile, at: Field): Promise<Piece> {
  input.budget.take(2 * OBJECT_BYTES);
  const piece: Piece = { text: "", score: 0, type: NORMAL };
  for await (const field of input.fields(at.offset, at.bytes)) {
    if (field.number === 1) piece.text = await input.text(field);
    else if (field.number === 2) piece.score = (await input.read(field)).readFloatLE();
    else if (field.number === 3) piece.type = Number(field.value);
  }
  return piece;
}

async function readNumbers(input: ProtobufFile, at: Field, into: Map<number, bigint>): Promise<void> {
  for await (const field of input.fields(at.offset, at.bytes)) {
    if (field.wire !== 0) continue;
    input.budget.take(MAP_ENTRY_BYTES);
    into.set(field.number, field.value);
  }
}

function toTokenizerJson(pieces: Piece[], charsmap: Buffer, normalizer: Map<number, bigint>): TokenizerJson {
  // NormalizerSpec: add_dummy_prefix = 3, remove_extra_whitespaces = 4, both true unless said otherwise
  const prependScheme = normalizer.get(3) === 0n ? "never" : "always";
  const squeeze = normalizer.get(4) !== 0n;
  const json = {
    version: "1.0",
    added_tokens: addedTokens(pieces),
    normalizer: { type: "Sequence", normalizers: normalizers(charsmap, squeeze) },
    pre_tokenizer: {
      type: "Metaspace",
      replacement: SPACE,
      prepend_scheme: prependScheme,
      split: false,
    },
    post_processor: endAfterText(pieces),
    decoder: { type: "Metaspace", replacement: SPACE, prepend_scheme: prependScheme },
    model: {
      type: "Unigram",
      unk_id: pieces.findIndex(({ type }) => type === UNKNOWN),
      vocab: pieces.map(({ text, score }) => [text, score]),
      byte_fallback: pieces.some(({ type }) => type === BYTE),
    },
  };
  return json as unknown as TokenizerJson;
}

/** Pieces that are never cut out of a text: those of control, the unknown one and the user's. */
function addedTokens(pieces: readonly Piece[]): AddedToken[] {
  const special = [CONTROL, UNKNOWN, USER_DEFINED];
  return [...pieces.entries()]
    .filter(([, { type }]) => special.includes(type))
    .map(([id, { text, type }]) => ({
      id,
      content: text,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: type !== USER_DEFINED,
    }));
}

function normalizers(charsmap: Buffer, squeeze: boolean): object[] {
  const map = {
    type: "Precompiled",
    precompiled_charsmap: charsmap.toString("base64"),
    longest_match: true,
  };
  const singleSpaces = [
    { type: "Strip", strip_left: true, strip_right: true },
    { type: "Replace", pattern: { Regex: " {2,}" }, content: " " },
  ];
  return [...(charsmap.length > 0 ? [map] : []), ...(squeeze ? singleSpaces : [])];
}

/** The rule that puts the end token after the text; null where there is none. */
function endAfterText(pieces: readonly Piece[]): object | null {
  const at = pieces.findIndex(({ type, text }) => type === CONTROL && /^(<\/s>|<eos>)$/.test(text));
  const end = pieces[at]?.text;
  if (end === undefined) return null;
  return {
    type: "TemplateProcessing",
    single: [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: end, type_id: 0 } }],
    pair: [],
    special_tokens: { [end]: { id: end, ids: [at], tokens: [end] } },
  };
}
