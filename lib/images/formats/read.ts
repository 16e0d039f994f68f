import type { Sharp } from "sharp";
import type { Plan, Samples } from "./plan.js";

/** The samples of an image as `read` names them; `channels`: how many the file has, 1 or 2 for grey. */
export async function readSamples(image: Sharp, read: Plan["read"], channels: number): Promise<Samples> {
  const { data, info } = await samplesOf(image, read, channels).toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: info.channels };
}

function samplesOf(image: Sharp, read: Plan["read"], channels: number): Sharp {
  switch (read) {
    case "cmyk8":
      return image.pipelineColourspace("cmyk").toColourspace("cmyk").raw();
    case "grey16":
      return image.toColourspace("grey16").raw({ depth: "ushort" });
    case "rgb16":
      return image.pipelineColourspace("rgb16").toColourspace("rgb16").raw({ depth: "ushort" });
    case "rgba8":
      return image.toColourspace("srgb").raw();
    case "pixels":
      return image
        .removeAlpha()
        .toColourspace(channels < 3 ? "b-w" : "srgb")
        .raw();
  }
}
