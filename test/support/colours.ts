import { mkdirSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";

/** Names of the images that `colourImages` writes, in the order of `embed`. */
export const COLOURS = ["blue", "lime", "red"] as const;

/** Writes one image of each colour, NAME.png of 40 × 30 pixels, into a folder; gives their paths. */
export async function colourImages(folder: string, names: readonly string[] = COLOURS): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  return Promise.all(
    names.map(async (background) => {
      const file = join(folder, `${background}.png`);
      const image = sharp({ create: { width: 40, height: 30, channels: 3, background } });
      await image.png().toFile(file);
      return file;
    }),
  );
}
