import type { RawImage } from "../types.js";
import { checkLength, checkSize, rowsOf, viewOf, type OwnDecoder, type Size } from "./plan.js";

/** QOI (qoiformat.org, version 1.0), alpha dropped. */

const HEADER = 14;

function decode(bytes: Uint8Array, size: Size): Promise<RawImage> {
  const seen = new Uint8Array(64 * 4);
  let [red, green, blue, alpha] = [0, 0, 0, 255];
  let at = HEADER;
  let run = 0;
  /** The next byte; 0 where the file ends in the middle of an operation. */
  const byte = (): number => bytes[at++] ?? 0;
  /** Reads one operation into the pixel or `run`. */
  const next = () => {
    if (at >= bytes.length) throw new Error("it is cut off: the file ends before its pixels do");
    const operation = byte();
    if (operation === 0xfe || operation === 0xff) {
      [red, green, blue] = [byte(), byte(), byte()];
      if (operation === 0xff) alpha = byte();
    } else if (operation >> 6 === 0) {
      const from = 4 * operation;
      red = seen[from] ?? 0;
      green = seen[from + 1] ?? 0;
      blue = seen[from + 2] ?? 0;
      alpha = seen[from + 3] ?? 0;
    } else if (operation >> 6 === 1) {
      red += ((operation >> 4) & 3) - 2;
      green += ((operation >> 2) & 3) - 2;
      blue += (operation & 3) - 2;
    } else if (operation >> 6 === 2) {
      const step = (operation & 63) - 32;
      const others = byte();
      red += step + (others >> 4) - 8;
      green += step;
      blue += step + (others & 15) - 8;
    } else {
      run = operation & 63; // this pixel and as many more
      return;
    }
    // Sums wrap around at 256.
    red &= 255;
    green &= 255;
    blue &= 255;
    const place = 4 * ((red * 3 + green * 5 + blue * 7 + alpha * 11) % 64);
    seen[place] = red;
    seen[place + 1] = green;
    seen[place + 2] = blue;
    seen[place + 3] = alpha;
  };
  return rowsOf(size, 3, (out, start) => {
    for (let to = start; to < start + 3 * size.width; to += 3) {
      if (run > 0) run--;
      else next();
      out[to] = red;
      out[to + 1] = green;
      out[to + 2] = blue;
    }
  });
}

export const qoi: OwnDecoder = (bytes) => {
  checkLength(bytes.length, HEADER);
  const view = viewOf(bytes);
  const size = checkSize(view.getUint32(4), view.getUint32(8));
  return { ...size, decode: () => decode(bytes, size) };
};
