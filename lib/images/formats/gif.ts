import type { RawImage } from "../types.js";
import { plainPlan, rowsOf, viewOf, type Plan, type Samples, type Size } from "./plan.js";

/** What a GIF file says of its first frame (GIF89a specification, sections 18 to 23). */
interface FirstFrame {
  screen: { width: number; height: number };
  /** Where the image descriptor begins. */
  descriptor: number;
  left: number;
  top: number;
  width: number;
  height: number;
  /** Where the colour table in force begins, and its entries; undefined where the file has none. */
  table: { at: number; entries: number } | undefined;
  /** The index that is transparent, and where the flags that say so lie. */
  transparent: number | undefined;
  flags: number[];
}

const EXTENSION = 0x21;
const IMAGE = 0x2c;
const GRAPHIC_CONTROL = 0xf9;
const HEADER = 13;

/**
 * Pillow gives the palette's colour of each pixel of the first frame: transparency is ignored. Around a frame
 * that is smaller than the screen lies the transparent colour, else entry 0. libvips draws nothing (black) in
 * both places, so the frame is decoded alone, without its transparency, and put on a canvas here.
 */
export function gifPlan(bytes: Uint8Array): Plan {
  const whole = plainPlan(bytes);
  const frame = firstFrame(bytes);
  if (!frame) return whole;
  const { screen, left, top, width, height } = frame;
  const fills = left === 0 && top === 0 && width === screen.width && height === screen.height;
  if (fills && frame.transparent === undefined && frame.table) return whole;
  const fill = colourOf(bytes, frame, frame.transparent ?? 0);
  const canvas = {
    width: Math.max(screen.width, left + width),
    height: Math.max(screen.height, top + height),
  };
  return {
    ...whole,
    bytes: frameAlone(bytes, frame),
    size: canvas,
    finish: (samples) => onCanvas(samples, canvas, left, top, fill),
  };
}

function firstFrame(bytes: Uint8Array): FirstFrame | undefined {
  if (bytes.length < HEADER) return undefined;
  const view = viewOf(bytes);
  const screen = { width: view.getUint16(6, true), height: view.getUint16(8, true) };
  const entriesOf = (flags: number) => (flags & 0x80 ? 2 << (flags & 7) : 0);
  /** A byte; 0 beyond the end of a file that is cut. */
  const byte = (at: number) => bytes[at] ?? 0;
  const common = entriesOf(byte(10));
  let at = HEADER + 3 * common;
  let transparent: number | undefined;
  const flags: number[] = [];
  while (at < bytes.length && byte(at) !== IMAGE) {
    if (byte(at) !== EXTENSION) return undefined;
    if (byte(at + 1) === GRAPHIC_CONTROL && byte(at + 3) & 1) {
      flags.push(at + 3);
      transparent = bytes[at + 6];
    }
    at += 2;
    while (byte(at) > 0) at += 1 + byte(at);
    at++;
  }
  if (at + 10 > bytes.length) return undefined;
  const own = entriesOf(byte(at + 9));
  const shared = common ? { at: HEADER, entries: common } : undefined;
  return {
    screen,
    descriptor: at,
    left: view.getUint16(at + 1, true),
    top: view.getUint16(at + 3, true),
    width: view.getUint16(at + 5, true),
    height: view.getUint16(at + 7, true),
    table: own ? { at: at + 10, entries: own } : shared,
    transparent,
    flags,
  };
}

/** RGB of a palette entry. Without a palette Pillow has a ramp of greys, beyond the entries it has black. */
function colourOf(bytes: Uint8Array, { table }: FirstFrame, index: number): Uint8Array {
  if (!table) return Uint8Array.of(index, index, index);
  if (index >= table.entries) return Uint8Array.of(0, 0, 0);
  return bytes.subarray(table.at + 3 * index, table.at + 3 * index + 3);
}

/** A copy of the file whose screen is the first frame, opaque, with a palette of greys where it has none. */
function frameAlone(bytes: Uint8Array, frame: FirstFrame): Uint8Array {
  const copy = bytes.slice();
  const view = viewOf(copy);
  view.setUint16(6, frame.width, true);
  view.setUint16(8, frame.height, true);
  view.setUint32(frame.descriptor + 1, 0, true);
  for (const at of frame.flags) view.setUint8(at, view.getUint8(at) & ~1);
  if (frame.table) return copy;
  const packed = frame.descriptor + 9;
  view.setUint8(packed, view.getUint8(packed) | 0x87); // a colour table of 256 entries follows
  const greys = Uint8Array.from({ length: 768 }, (_, i) => Math.floor(i / 3));
  const behind = frame.descriptor + 10;
  return Buffer.concat([copy.subarray(0, behind), greys, copy.subarray(behind)]);
}

function onCanvas(
  samples: Samples,
  canvas: Size,
  left: number,
  top: number,
  fill: Uint8Array,
): Promise<RawImage> {
  const { data: from, width, height, channels } = samples;
  // A palette that is cut has no such entry: black.
  const blank = Uint8Array.from({ length: canvas.width * 3 }, (_, i) => fill[i % 3] ?? 0);
  return rowsOf(canvas, 3, (out, start, y) => {
    out.set(blank, start);
    const line = y - top;
    if (line < 0 || line >= height) return;
    let to = start + left * 3;
    for (let at = line * width * channels; at < (line + 1) * width * channels; at += channels) {
      for (let c = 0; c < 3; c++) out[to++] = from.readUInt8(at + (channels < 3 ? 0 : c));
    }
  });
}
