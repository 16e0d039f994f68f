import { TorchclipError } from "../../errors.js";
import type { TowerHints } from "./types.js";

/**
 * Patches along one side of an image; pixels that are left over at the right and the bottom belong to none.
 */
export function gridOf({ imageSize, patchSize }: { imageSize: number; patchSize: number }): number {
  return Math.floor(imageSize / patchSize);
}

/**
 * The side of the images, pixels, of a tower with `positions` patches: what its config says, which need be no
 * multiple of the patch, else as many patches as there are positions for. Throws E_MODEL_UNSUPPORTED where
 * the images are not square, or where the config says another number of patches.
 */
export function squareImageSize(positions: number, patchSize: number, hints: TowerHints): number {
  const grid = Math.sqrt(positions);
  if (!Number.isInteger(grid)) {
    throw new TorchclipError(
      "E_MODEL_UNSUPPORTED",
      `the image encoder has ${positions} patch positions, which make no square; ` +
        "square images alone are computed",
    );
  }
  const { imageSize } = hints;
  if (imageSize === undefined) return grid * patchSize;
  if (gridOf({ imageSize, patchSize }) !== grid) {
    throw new TorchclipError(
      "E_MODEL_UNSUPPORTED",
      `the config says images of ${imageSize} pixels and the weights have ${grid} × ${grid} patches ` +
        `of ${patchSize}; resized position embeddings are not computed`,
    );
  }
  return imageSize;
}
