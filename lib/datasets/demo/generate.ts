import { mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { checkAborted } from "../../errors.js";
import { writeFolderWhole } from "../../util/files.js";
import { svgPng, textPng } from "../render/text.js";
import { reviewLayout, reviews } from "./reviews.js";
import { datasetScene, SCENE_CLASSES, sceneSvg } from "./scenes.js";

// Raised when an image of the data sets changes, so that an older cache is not used.
const VERSION = 1;
export const REVIEW_COUNTS = { train: 400, valid: 160, test: 640 } as const;
export const SCENES_A_CLASS = { train: 10, valid: 5, test: 20 } as const;

export interface GenerateOptions {
  cacheDir: string;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
}

interface Image {
  split: string;
  classFolder: string;
  draw: () => Buffer;
}

/**
 * The folder of `rendered-demo`, drawn into the cache where it is not there yet:
 * SPLIT/negative|positive/NNNN.png.
 */
export function renderedDemoFolder(options: GenerateOptions): Promise<string> {
  const images = (["train", "valid", "test"] as const).flatMap((split) =>
    reviews(split, REVIEW_COUNTS[split]).map(({ text, label }): Image => ({
      split,
      classFolder: label ? "positive" : "negative",
      draw: () => textPng(text, reviewLayout(text)),
    })),
  );
  return draw("rendered-demo", images, options);
}

/** The folder of `scenes`: SPLIT/"red circle"/NNNN.png. */
export function scenesFolder(options: GenerateOptions): Promise<string> {
  const images = (["train", "valid", "test"] as const).flatMap((split) =>
    SCENE_CLASSES.flatMap((classFolder, c) =>
      Array.from({ length: SCENES_A_CLASS[split] }, (_, i): Image => ({
        split,
        classFolder,
        draw: () => svgPng(sceneSvg(datasetScene(split, c, i))),
      })),
    ),
  );
  return draw("scenes", images, options);
}

async function draw(name: string, images: Image[], options: GenerateOptions): Promise<string> {
  const folder = join(options.cacheDir, "datasets", `${name}-${VERSION}`);
  if (await stat(folder).catch(() => undefined)) return folder;
  await writeFolderWhole(folder, async (temporary) => {
    for (const [i, p] of images.entries()) {
      checkAborted(options.signal);
      const into = join(temporary, p.split, p.classFolder);
      await mkdir(into, { recursive: true });
      await writeFile(join(into, `${String(i).padStart(4, "0")}.png`), p.draw());
      options.onProgress?.(i + 1, images.length);
    }
  }).catch(async (error: unknown) => {
    // Another process may have finished the same folder meanwhile.
    if (!(await stat(folder).catch(() => undefined))) throw error;
  });
  return folder;
}
