import {
  checkLength,
  checkSize,
  latin1,
  rowsOf,
  viewOf,
  type OwnDecoder,
  type RowWriter,
  type Size,
} from "./plan.js";

/** PBM, PGM and PPM, plain and raw (netpbm.sourceforge.net/doc), as Pillow's PpmImagePlugin reads them. */

interface Header extends Size {
  /** "P1" to "P6". */
  magic: string;
  /** The sample that is white; 1 for PBM. */
  most: number;
  channels: 1 | 3;
  /** Where the samples begin. */
  samples: number;
}

const isSpace = (byte: number) => byte === 32 || (byte >= 9 && byte <= 13);
const HASH = 35;
const isLineEnd = (byte: number) => byte === 10 || byte === 13;
const LONGEST_NUMBER = 10;

/** Where a comment ends that begins at a place: at the end of its line, or of the file. */
function endOfComment(bytes: Uint8Array, from: number): number {
  const length = bytes.subarray(from).findIndex((byte) => isLineEnd(byte));
  return length < 0 ? bytes.length : from + length;
}

function readHeader(bytes: Uint8Array): Header {
  const magic = latin1(bytes, 0, 2);
  let at = 2;
  const number = (): number => {
    let token = "";
    for (; at < bytes.length; at++) {
      const byte = bytes[at] ?? 0;
      if (byte === HASH) {
        at = endOfComment(bytes, at);
      } else if (!isSpace(byte)) {
        token += String.fromCharCode(byte);
      } else if (token) {
        break;
      }
    }
    at++; // one white space ends the header
    if (!/^\d{1,10}$/.test(token))
      throw new Error(`its header has "${token.slice(0, LONGEST_NUMBER)}" in the place of a number`);
    return Number(token);
  };
  const { width, height } = checkSize(number(), number());
  const bilevel = magic === "P1" || magic === "P4";
  const most = bilevel ? 1 : number();
  if (most < 1 || most > 65535) throw new Error(`its largest sample is ${most}, not 1 to 65535`);
  return { magic, width, height, most, channels: magic === "P3" || magic === "P6" ? 3 : 1, samples: at };
}

/**
 * The 8-bit value of a sample: grey of more than 8 bits is clipped at 255 as in other formats, all else is
 * scaled.
 */
function scaling({ magic, most, channels }: Header): (sample: number) => number {
  if (channels === 1 && most > 255) {
    // Raw samples of 16 bits are taken as they are; others are scaled to 16 bits first.
    if (most === 65535 && magic === "P5") return (sample) => Math.min(255, sample);
    return (sample) => Math.min(255, rounded((sample / most) * 65535));
  }
  if (most === 255) return (sample) => sample;
  return (sample) => Math.min(255, rounded((sample / most) * 255));
}

/** Halves go to the even neighbour, as Python's round. */
function rounded(value: number): number {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/** Bits of PBM: 1 is black. */
const shade = (bit: number) => (bit ? 0 : 255);

/** The rows of raw PBM: 8 pixels a byte, the high bit first. */
function bitRows(bytes: Uint8Array, { width, height, samples }: Header): RowWriter {
  const view = viewOf(bytes);
  const stride = Math.ceil(width / 8);
  checkLength(bytes.length - samples, stride * height);
  return (out, to, y) => {
    for (let x = 0; x < width; x++) {
      const byte = view.getUint8(samples + y * stride + (x >> 3));
      out[to + x] = shade((byte >> (7 - (x & 7))) & 1);
    }
  };
}

function rowWriter(bytes: Uint8Array, header: Header): RowWriter {
  const { magic, width, height, most, channels, samples } = header;
  if (magic === "P4") return bitRows(bytes, header);
  const scaled = magic === "P1" ? shade : scaling(header);
  if (magic < "P4") return plainRows(bytes, header, scaled);
  const size = most > 255 ? 2 : 1;
  const stride = width * channels * size;
  checkLength(bytes.length - samples, stride * height);
  const view = viewOf(bytes);
  return (out, to, y) => {
    for (let at = samples + y * stride; at < samples + (y + 1) * stride; at += size) {
      out[to++] = scaled(size === 1 ? view.getUint8(at) : view.getUint16(at));
    }
  };
}

/** Numbers in text; those of PBM need no space between them. */
function plainRows(
  bytes: Uint8Array,
  { magic, width, channels, most, samples }: Header,
  scaled: (sample: number) => number,
): RowWriter {
  let at = samples;
  /** Whether what is at the place belongs to a number that begins at `from`. */
  const goesOn = (from: number): boolean => {
    const byte = bytes[at];
    if (byte === undefined || isSpace(byte) || byte === HASH) return false;
    return magic !== "P1" || at === from;
  };
  const skip = (): void => {
    for (let byte = bytes[at]; byte !== undefined; byte = bytes[at]) {
      if (byte === HASH) at = endOfComment(bytes, at);
      else if (isSpace(byte)) at++;
      else return;
    }
  };
  const next = (): number => {
    skip();
    const from = at;
    while (goesOn(from)) at++;
    if (at === from) throw new Error("it is cut off: the file ends before its samples do");
    const token = latin1(bytes, from, Math.min(at, from + LONGEST_NUMBER + 1));
    if (!/^\d{1,10}$/.test(token) || Number(token) > most)
      throw new Error(`"${token}" is no sample of 0 to ${most}`);
    return Number(token);
  };
  return (out, to) => {
    for (let i = 0; i < width * channels; i++) out[to + i] = scaled(next());
  };
}

export const pnm: OwnDecoder = (bytes) => {
  const header = readHeader(bytes);
  const { width, height, channels } = header;
  return { width, height, decode: async () => rowsOf(header, channels, rowWriter(bytes, header)) };
};
