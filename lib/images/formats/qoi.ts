import type { RawImage } from "../decode.js";
import { checkLength, checkSize, inTurns, viewOf, type OwnDecoder, type Size } from "./plan.js";

/** QOI (qoiformat.org, version 1.0), alpha dropped. */

const HEADER = 14;

function size(bytes: Uint8Array): Size {
  checkLength(bytes.length, HEADER);
  const view = viewOf(bytes);
  return checkSize(view.getUint32(4), view.getUint32(8));
}

async function decode(bytes: Uint8Array): Promise<RawImage> {
  const { width, height } = size(bytes);
  const data = new Uint8Array(width * height * 3);
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
  await inTurns(width, height, (from, to) => {
    for (let i = from * width; i < to * width; i++) {
      if (run > 0) run--;
      else next();
      data[3 * i] = pixel[0];
      data[3 * i + 1] = pixel[1];
      data[3 * i + 2] = pixel[2];
    }
  });
  return { data, width, height, channels: 3 };
}

export const qoi: OwnDecoder = { size, decode };
