import { addon } from "../../lib/addon.js";
import { nativeTransform } from "../../lib/models/config.js";
import { imageProcessorHints } from "../../lib/models/import/image-processor.js";
import { sha256 } from "./index.js";
import { noiseImage } from "./noise.js";

/** An image of noise and the hash of what Pillow makes of it (scripts/goldens/write.py). */
export interface PreprocessingCase {
  seed: number;
  width: number;
  height: number;
  channels: 1 | 3 | 4;
  size: number;
  /** Default: the shorter side, bicubic. */
  resize?: "shortest" | "squash" | "longest";
  interpolation?: "bicubic" | "bilinear";
  fill?: number;
  /** Config of an image processor of transformers, instead of the four above (scripts/goldens/configs.py). */
  processor?: Record<string, unknown>;
  sha256: string;
}

/** The cases whose result here has other bytes, by their sizes. */
export async function differing(cases: readonly PreprocessingCase[]): Promise<string[]> {
  const different: string[] = [];
  for (const c of cases) {
    const p = noiseImage(c.seed, c.width, c.height, c.channels);
    const out = new Uint8Array(c.size * c.size * 3);
    const { resize = "shortest", interpolation = "bicubic", fill = 0 } = c;
    const preprocessing = c.processor
      ? imageProcessorHints(c.processor, false, c.size, "preprocessor_config.json")
      : { resize, interpolation, fill, mean: [], std: [] };
    const transform = nativeTransform(preprocessing, c.size);
    await addon().preprocess(p.data, p.width, p.height, p.channels, transform, out, 0);
    if (sha256(out) !== c.sha256)
      different.push(
        `${c.width}×${c.height}×${c.channels} → ${c.size} ` +
          JSON.stringify(c.processor ?? [resize, interpolation]),
      );
  }
  return different;
}
