import { availableParallelism } from "node:os";
import { addon, type NativeTransform } from "../addon.js";
import type { Dataset } from "../datasets/dataset.js";
import { checkAborted, imageError, toTorchclipError } from "../errors.js";
import { decodeImage, imageName } from "../images/decode.js";
import type { ImageLimits, RawImage } from "../images/types.js";
import type { ModelConfig } from "../models/config-types.js";
import { nativeTransform } from "../models/config.js";
import { freeMemory } from "../util/free-memory.js";
import { forEachLimited } from "../util/iterate.js";
import { cropped, mirror, randomCrop } from "./augment.js";
import { randomOf } from "./sampler.js";

/** How images become pixels for training. */
export interface TrainingImagesOptions {
  /** Share of the area of a random resized crop; "none": the model's own transform. */
  cropScale: readonly [number, number] | "none";
  /** Mirror every other image. */
  flip: boolean;
  seed: number;
  autoRotate?: boolean;
  limits?: ImageLimits;
  signal?: AbortSignal;
}

const SQUASH = 1;
/** Pixels that are kept, so that later epochs decode fewer images. */
const KEPT_BYTES = 512 << 20;

/** The images of a data set as the model takes them: uint8 [rows, size, size, 3]. */
export class TrainingImages {
  private readonly size: number;
  private readonly transform: NativeTransform;
  private readonly kept = new Map<number, Uint8Array>();
  private keptBytes = 0;

  constructor(
    private readonly data: Dataset,
    config: ModelConfig,
    private readonly options: TrainingImagesOptions,
  ) {
    this.size = config.image.imageSize;
    this.transform = nativeTransform(config.preprocessing, this.size);
  }

  get length(): number {
    return this.data.length;
  }

  /** Class ids of images. */
  labels(indices: readonly number[]): Int32Array {
    return Int32Array.from(indices, (index) => this.data.at(index).label);
  }

  /** Images by the model's own transform. */
  async plain(indices: readonly number[]): Promise<Uint8Array> {
    return this.rows(indices, (index, out, row) => this.plainRow(index, out, row));
  }

  /**
   * Images with random crops and flips where the recipe has them.
   *
   * @param place The place of the first image in the sequence of the run. What is drawn for an image depends
   *   on the seed and its place alone.
   */
  async augmented(indices: readonly number[], place: number): Promise<Uint8Array> {
    return this.rows(indices, async (index, out, row) => {
      const { cropScale, flip, seed } = this.options;
      const random = randomOf(seed, `image ${place + row}`);
      if (cropScale === "none") {
        await this.plainRow(index, out, row);
      } else {
        await this.decoded(index, (raw) => {
          const part = cropped(raw, randomCrop(random, raw, cropScale));
          return this.resizeInto(part, { ...this.transform, resize: SQUASH, resized: this.size }, out, row);
        });
      }
      if (flip && random() < 0.5) mirror(out.subarray(row * this.bytes, (row + 1) * this.bytes), this.size);
    });
  }

  private get bytes(): number {
    return this.size * this.size * 3;
  }

  private async rows(
    indices: readonly number[],
    fill: (index: number, out: Uint8Array, row: number) => Promise<void>,
  ): Promise<Uint8Array> {
    const out = new Uint8Array(indices.length * this.bytes);
    await forEachLimited(indices.length, availableParallelism() + 1, async (row) => {
      checkAborted(this.options.signal);
      await fill(indices[row], out, row);
    });
    return out;
  }

  private async plainRow(index: number, out: Uint8Array, row: number): Promise<void> {
    const known = this.kept.get(index);
    if (known) {
      out.set(known, row * this.bytes);
      return;
    }
    await this.decoded(index, (raw) => this.resizeInto(raw, this.transform, out, row));
    if (this.keptBytes + this.bytes > KEPT_BYTES) return;
    this.kept.set(index, out.slice(row * this.bytes, (row + 1) * this.bytes));
    this.keptBytes += this.bytes;
  }

  /** Decodes an image of the data set; an error names it. */
  private async decoded(index: number, use: (raw: RawImage) => Promise<void>): Promise<void> {
    const sample = this.data.at(index);
    const { autoRotate, limits, signal } = this.options;
    const image = await sample.read();
    const useAndFree = async (raw: RawImage) => {
      await use(raw);
      freeMemory(raw.data);
    };
    try {
      await decodeImage(image, { ...limits, autoRotate, signal }, undefined, useAndFree);
    } catch (error) {
      const known = toTorchclipError(error, "E_IMAGE_DECODE");
      throw known.code === "E_ABORTED" ? known : imageError(index, known, imageName(image));
    }
  }

  private resizeInto(raw: RawImage, transform: NativeTransform, out: Uint8Array, row: number): Promise<void> {
    const { data, width, height, channels } = raw;
    return addon().preprocess(data, width, height, channels, transform, out, row);
  }
}
