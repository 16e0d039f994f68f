import type { RawImage } from "../types.js";
import { checkLength, checkSize, rowsOf, viewOf, type OwnDecoder, type Size } from "./plan.js";

/** QOI (qoiformat.org, version 1.0), alpha dropped. */

const HEADER = 14;

function decode(bytes: Uint8Array, size: Size): Promise<RawImage> {
  const seen = new Uint8Array(64 * 4);
  const pixel = Uint8Array.of(0, 0, 0, 255);
  let at = HEADER;
  let run = 0;
  /** Reads one operation into `pixel` and `run`. */
  const next = () => {
    if (at >= bytes.length) throw new Error("it is cut off: the file ends before its pixels do");
    const operation = bytes[at++];
    if (operation === 0xfe || operation === 0xff) {
      const channels = operation === 0xfe ? 3 : 4;
      for (let c = 0; c < channels; c++) pixel[c] = bytes[at++];
    } else if (operation >> 6 === 0) {
      pixel.set(seen.subarray(4 * operation, 4 * operation + 4));
    } else if (operation >> 6 === 1) {
      pixel[0] += ((operation >> 4) & 3) - 2;
      pixel[1] += ((operation >> 2) & 3) - 2;
      pixel[2] += (operation & 3) - 2;
    } else if (operation >> 6 === 2) {
      const green = (operation & 63) - 32;
      const others = bytes[at++];
      pixel[0] += green + (others >> 4) - 8;
      pixel[1] += green;
      pixel[2] += green + (others & 15) - 8;
    } else {
      run = operation & 63; // this pixel and as many more
      return;
    }
    seen.set(pixel, 4 * ((pixel[0] * 3 + pixel[1] * 5 + pixel[2] * 7 + pixel[3] * 11) % 64));
  };
  return rowsOf(size, 3, (out, start) => {
    for (let to = start; to < start + 3 * size.width; to += 3) {
      if (run > 0) run--;
      else next();
      out[to] = pixel[0];
      out[to + 1] = pixel[1];
      out[to + 2] = pixel[2];
    }
  });
}

export const qoi: OwnDecoder = (bytes) => {
  checkLength(bytes.length, HEADER);
  const view = viewOf(bytes);
  const size = checkSize(view.getUint32(4), view.getUint32(8));
  return { ...size, decode: () => decode(bytes, size) };
};
