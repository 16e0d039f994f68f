import { TorchclipError } from "../errors.js";
import { isRemote, redactUrl } from "../redact.js";
import type { LongString, LongStrings } from "./json-body.js";

/** One text of a request. */
export interface TextItem {
  kind: "text";
  /** Where it stands in the body: `input[3]`. */
  where: string;
  text: string;
}

/** One image of a request. */
export interface ImageItem {
  kind: "image";
  where: string;
  /** The URL, or the bytes, which are decoded from base64 now; an embedding frees them. Throws E_ARGUMENT. */
  read: () => string | Buffer;
}

export type Item = TextItem | ImageItem;

type JsonObject = Record<string, unknown>;

/** Characters in which the kind of an image's string is found. */
const HEAD = 200;

/** Makes texts and images of what stands in a body. */
export class ItemReader {
  /** @param allowUrls Whether images may be fetched from http(s) URLs. */
  constructor(
    private readonly strings: LongStrings,
    private readonly allowUrls: boolean,
  ) {}

  /** The list that stands in a field; a text alone is a list of one. */
  list(value: unknown, where: string): unknown[] {
    if (typeof value === "string") return [value];
    if (!Array.isArray(value)) throw wrong(where, "must be a text or a list");
    if (value.length === 0) throw wrong(where, "is empty");
    return value;
  }

  /** A string of the body, whole. */
  string(value: unknown, where: string): string {
    if (typeof value !== "string") throw wrong(where, "must be a text");
    return this.strings.find(value).toString();
  }

  text(value: unknown, where: string): TextItem {
    if (isTokenIds(value))
      throw wrong(
        where,
        "holds token ids of another tokenizer; send texts (LangChain: checkEmbeddingCtxLength)",
      );
    return { kind: "text", where, text: this.string(value, where) };
  }

  /** An image: an http(s) URL, a data URI, or base64 alone. */
  image(value: unknown, where: string): ImageItem {
    if (typeof value !== "string") throw wrong(where, "must be a data URI, base64 or a URL of an image");
    const found = this.strings.find(value);
    const head = headOf(found);
    if (isRemote(head)) return this.remoteImage(found.toString(), where);
    const isData = /^data:/i.test(head);
    if (isData) checkDataUri(head, where);
    const start = isData ? head.indexOf(",") + 1 : 0;
    return { kind: "image", where, read: () => bytesOfBase64(found, start, where) };
  }

  /** A text, or an image where it begins as a data URI does (NVIDIA NIM). */
  textOrImage(value: unknown, where: string): Item {
    const isImage = typeof value === "string" && /^data:image\//i.test(headOf(this.strings.find(value)));
    return isImage ? this.image(value, where) : this.text(value, where);
  }

  /**
   * A text or an image as the parts of messages hold it: `{type: "text", text}`, `{type: "image_url",
   * image_url: URL | {url: URL}}`, `{type: "image_base64", image_base64}`, and Jina's `{text}`, `{image}`,
   * `{url}`, `{bytes}`.
   */
  part(value: unknown, where: string): Item {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return this.text(value, where);
    const part = value as JsonObject;
    if (part.text !== undefined) return this.text(part.text, `${where}.text`);
    for (const name of ["image", "url", "bytes", "image_base64"]) {
      if (part[name] !== undefined) return this.image(part[name], `${where}.${name}`);
    }
    const { image_url: link } = part;
    const isNested = typeof link === "object" && link !== null;
    if (link !== undefined)
      return this.image(isNested ? (link as JsonObject).url : link, `${where}.image_url`);
    throw wrong(where, 'has neither a text nor an image: {"text"}, {"image"}, {"type", "image_url"} …');
  }

  /**
   * The only item of a list of parts. CLIP embeds a text or an image, and not both into one vector.
   */
  onlyPart(content: unknown, where: string): Item {
    if (typeof content === "string") return this.textOrImage(content, where);
    const parts = this.list(content, where);
    if (parts.length > 1)
      throw wrong(where, `has ${parts.length} parts; CLIP makes a vector of one text or one image`);
    return this.part(parts[0], `${where}[0]`);
  }

  private remoteImage(url: string, where: string): ImageItem {
    if (!this.allowUrls) {
      const message = `${where}: ${redactUrl(url)} is not fetched: this server takes images as data URIs`;
      throw new TorchclipError("E_IMAGE_READ", message, { subject: where });
    }
    return { kind: "image", where, read: () => url };
  }
}

/** An E_ARGUMENT about a part of the body. */
export function wrong(where: string, what: string): TorchclipError {
  return new TorchclipError("E_ARGUMENT", `${where} ${what}`, { subject: where });
}

/** Ids of another tokenizer, or lists of them, as OpenAI's interface takes them too. */
function isTokenIds(value: unknown): boolean {
  const first: unknown = Array.isArray(value) ? value[0] : value;
  return typeof first === "number";
}

function headOf(value: string | LongString): string {
  return typeof value === "string" ? value.slice(0, HEAD) : value.head(HEAD);
}

/** E_ARGUMENT for a data URI that does not hold an image in base64. */
function checkDataUri(head: string, where: string): void {
  const match = /^data:([^;,]*)((?:;[^;,]*)*),/i.exec(head);
  if (!match) throw wrong(where, "is a data URI without a comma");
  const [, type, parameters] = match;
  if (!/;base64$/i.test(parameters)) throw wrong(where, "is a data URI that is not in base64");
  if (!/^(image\/.*|application\/octet-stream)?$/i.test(type))
    throw wrong(where, `is a data URI of ${type.slice(0, 40)}, which is not an image`);
}

/**
 * The bytes of base64 (also of the URL-safe alphabet) from `start` on. Node leaves out what is not base64;
 * here that is E_ARGUMENT, except for white space.
 */
function bytesOfBase64(value: string | LongString, start: number, where: string): Buffer {
  const text = value.toString().slice(start);
  const bytes = Buffer.from(text, "base64");
  if (bytes.length === 0) throw wrong(where, "is empty");
  if (bytes.length === decodedLength(text)) return bytes;
  const packed = text.replace(/\s+/g, "");
  if (bytes.length === decodedLength(packed)) return bytes;
  throw wrong(where, "is neither a URL nor base64");
}

/** Bytes that base64 of so many characters stands for. */
function decodedLength(text: string): number {
  const padding = /={0,2}$/.exec(text.slice(-2))?.[0].length ?? 0;
  return Math.floor(((text.length - padding) * 3) / 4);
}
