import { TorchclipError } from "../../errors.js";
import type { JsonObject } from "../../util/untrusted.js";
import type { FieldTable } from "./field-table.js";
import * as openClip from "./open-clip-fields.js";
import * as transformers from "./transformers-fields.js";

/**
 * The fields of the config files that lie beside published weights. A field that changes pixels, tokens or
 * the graph is read, or refused where its value is another than the one that this version computes; nothing
 * is ignored because it is not known.
 */
const TABLES = {
  transformers: transformers.MODEL,
  "transformers text": transformers.TEXT,
  "transformers vision": transformers.VISION,
  processor: transformers.PROCESSOR,
  "image processor": transformers.IMAGE_PROCESSOR,
  tokenizer: transformers.TOKENIZER,
  open_clip: openClip.CONFIG,
  "open_clip model": openClip.MODEL,
  "open_clip vision": openClip.VISION,
  "open_clip text": openClip.TEXT,
  "open_clip preprocess": openClip.PREPROCESS,
} satisfies Record<string, FieldTable>;

export type ConfigKind = keyof typeof TABLES;

/**
 * Throws E_MODEL_UNSUPPORTED where `config`, from `file`, has a field that its table does not know or with a
 * value that this version does not compute. A field of null is one that is not set.
 */
export function checkFields(kind: ConfigKind, config: JsonObject, file: string): void {
  const { read, harmless, only = {} }: FieldTable = TABLES[kind];
  for (const [name, value] of Object.entries(config)) {
    if (value === null || value === undefined || read.includes(name) || harmless.includes(name)) continue;
    const allowed = Object.hasOwn(only, name) ? only[name] : undefined;
    if (!allowed) throw unsupportedField(file, name, value, "it is not known");
    const accepted = allowed.map((one) => JSON.stringify(one));
    if (!accepted.includes(JSON.stringify(value)))
      throw unsupportedField(file, name, value, `this version computes ${accepted.join(" or ")}`);
  }
}

/** E_MODEL_UNSUPPORTED that names a config's file, its field and the value. */
export function unsupportedField(file: string, field: string, value: unknown, why: string): TorchclipError {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  const shown = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return new TorchclipError(
    "E_MODEL_UNSUPPORTED",
    `${file}: "${field}" is ${shown}, and ${why}; it may change what the model computes`,
    { subject: file },
  );
}
