import type { ImageFormat } from "../types.js";
import { avifPlan } from "./avif.js";
import { bmp, iconBitmap } from "./bmp.js";
import { gifPlan } from "./gif.js";
import { iconImage } from "./ico.js";
import { plainPlan, type OwnImage, type Plan } from "./plan.js";
import { pngPlan } from "./png.js";
import { pnm } from "./pnm.js";
import { qoi } from "./qoi.js";
import { tiffPlan } from "./tiff.js";
import { unsupportedFormat } from "./unsupported.js";

/** How a file is decoded: by sharp with a plan, or by a decoder of our own. */
export type Decoding = { plan: Plan } | { own: OwnImage };

/**
 * How a file of a format (by `imageFormat`) becomes the pixels that Pillow gives. A format that needs special
 * treatment has one function here. Throws an Error that names the format where nothing decodes it.
 */
export function decodingOf(
  bytes: Uint8Array,
  format: ImageFormat | undefined,
  options: { autoRotate?: boolean },
): Decoding {
  switch (format) {
    case "bmp":
      return { own: bmp(bytes) };
    case "qoi":
      return { own: qoi(bytes) };
    case "pnm":
      return { own: pnm(bytes) };
    case "ico": {
      const image = iconImage(bytes);
      return image.kind === "PNG" ? { plan: pngPlan(image.bytes) } : { own: iconBitmap(image.bytes) };
    }
    case "tiff":
      return { plan: tiffPlan(bytes) };
    case "gif":
      return { plan: gifPlan(bytes) };
    case "png":
      return { plan: pngPlan(bytes) };
    case "avif":
      checkSupported(bytes);
      return { plan: avifPlan(bytes, options.autoRotate ?? false) };
    case undefined:
      checkSupported(bytes);
      return { plan: plainPlan(bytes) };
    default:
      return { plan: plainPlan(bytes) };
  }
}

function checkSupported(bytes: Uint8Array): void {
  const name = unsupportedFormat(bytes);
  if (name) throw new Error(`${name} is not supported; convert it to PNG or JPEG`);
}
