import { availableParallelism } from "node:os";
import { addon, type NativeTransform } from "../addon.js";
import { checkAborted, imageError, toTorchclipError, type TorchclipError } from "../errors.js";
import { decodeImage, imageName, jpegFile, startReading } from "../images/decode.js";
import type { EncodedImage } from "../images/source.js";
import type { ImageInput, RawImage } from "../images/types.js";
import { freeMemory } from "../util/free-memory.js";
import { untilAborted } from "../util/abort.js";
import { forEachLimited } from "../util/iterate.js";
import type { BatchOptions, Preprocessed } from "./options.js";

/** The error of each image of a batch that has one, at its place. */
export type ImageErrors = (TorchclipError | undefined)[];

/** An image of a call, or what was read of it. */
export type ReadableImage = ImageInput | EncodedImage;

/** What is done with the pixels of the image at a place of the batch. */
type Take = (raw: RawImage, place: number) => Promise<void>;

/** Reads, decodes and resizes the images of a batch, as many at once as there are cores. */
export class ImageDecoder {
  constructor(
    private readonly transform: NativeTransform,
    /** Side of the images that the model sees, pixels. */
    private readonly size: number,
  ) {}

  /**
   * Decodes a batch and hands out each image; bad items are thrown, or collected in the result.
   *
   * @param indexOf The number that messages give the image at a place of the batch.
   */
  async each(
    images: readonly ReadableImage[],
    indexOf: (place: number) => number,
    options: BatchOptions,
    take: Take,
  ): Promise<ImageErrors> {
    const errors: ImageErrors = images.map(() => undefined);
    const decodeOptions = { ...options, size: this.size };
    const decode = async (place: number) => {
      checkAborted(options.signal);
      const image = images[place];
      try {
        await decodeImage(image, decodeOptions, options.times, (raw) => take(raw, place));
      } catch (error) {
        const known = toTorchclipError(error, "E_IMAGE_DECODE");
        if (known.code === "E_ABORTED") throw known;
        const named = imageError(indexOf(place), known, imageName(image));
        if (options.onError !== "collect") throw named;
        errors[place] = named;
      }
    };
    await forEachImage(images.length, decode, options.signal);
    return errors;
  }

  /** Decodes and resizes a batch, into `buffer` where there is one. */
  async prepare(
    images: readonly ImageInput[],
    firstIndex: number,
    options: BatchOptions,
    buffer?: Uint8Array,
  ): Promise<Preprocessed> {
    const { size } = this;
    const data = buffer ?? new Uint8Array(images.length * size ** 2 * 3);
    const { times } = options;
    const take = async (raw: RawImage, place: number) => {
      const start = performance.now();
      await this.resizeInto(data, place, raw);
      freeMemory(raw.data);
      if (times) times.resize += (performance.now() - start) / 1000;
    };
    const errors = await this.each(images, (place) => firstIndex + place, options, take);
    return { data, rows: images.length, height: size, width: size, errors };
  }

  /** An image as the model is fed it, which the device's own resizing leaves as it is. */
  async resized(raw: RawImage): Promise<RawImage> {
    const { size } = this;
    const data = new Uint8Array(size * size * 3);
    await this.resizeInto(data, 0, raw);
    return { data, width: size, height: size, channels: 3 };
  }

  private resizeInto(data: Uint8Array, place: number, raw: RawImage): Promise<void> {
    return addon().preprocess(raw.data, raw.width, raw.height, raw.channels, this.transform, data, place);
  }
}

/** What was read of a batch. */
interface ReadBatch {
  /** What was read, so that nothing is read twice, else the input. */
  images: ReadableImage[];
  /** The bytes of the JPEG files. */
  jpegs: (Uint8Array | undefined)[];
}

/** Reads the files of a batch and finds the JPEG files among them. */
export async function readJpegFiles(
  inputs: readonly ImageInput[],
  options: BatchOptions,
): Promise<ReadBatch> {
  const images: ReadableImage[] = [...inputs];
  const jpegs: ReadBatch["jpegs"] = inputs.map(() => undefined);
  const read = async (place: number) => {
    const encoded = startReading(inputs[place], options);
    if (!encoded) return;
    images[place] = encoded;
    jpegs[place] = await jpegFile(encoded, options);
  };
  await forEachImage(inputs.length, read, options.signal);
  return { images, jpegs };
}

function forEachImage(
  count: number,
  work: (place: number) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  return untilAborted(forEachLimited(count, availableParallelism() + 1, work), signal);
}
