import type { NativeEngine } from "../addon.js";
import { decodeBudget } from "../images/budget.js";
import type { ImageInput, RawImage } from "../images/types.js";
import { freeMemory } from "../util/free-memory.js";
import { readJpegFiles, type ImageDecoder, type ImageErrors, type ReadableImage } from "./image-decoder.js";
import type { OutputPlan } from "./image-output.js";
import type { BatchOptions } from "./options.js";

/** What the device gets: pixels that it resizes, or a JPEG file that it decodes too. */
type DeviceImage = RawImage | { jpeg: Uint8Array };

/** In the place of an image that could not be decoded. */
const BLANK: RawImage = { data: new Uint8Array(3), width: 1, height: 1, channels: 3 };

/** A batch for the device to resize, its JPEG files for the device to decode too where that is asked for. */
export class DeviceBatch {
  readonly errors: ImageErrors;
  private readonly prepared: DeviceImage[];
  /** Pixels of the images that are decoded here. */
  private held = 0;

  private constructor(
    private readonly images: readonly ReadableImage[],
    jpegs: readonly (Uint8Array | undefined)[],
    private readonly firstIndex: number,
    private readonly decoder: ImageDecoder,
    private readonly options: BatchOptions,
  ) {
    this.errors = images.map(() => undefined);
    this.prepared = images.map((_, place) => {
      const jpeg = jpegs[place];
      return jpeg ? { jpeg } : BLANK;
    });
  }

  /** Reads the images, and decodes those that the device does not. */
  static async decode(
    images: readonly ImageInput[],
    firstIndex: number,
    decoder: ImageDecoder,
    options: BatchOptions,
  ): Promise<DeviceBatch> {
    const isRead = options.decodeOn === "device" && !options.autoRotate;
    const read = isRead ? await readJpegFiles(images, options) : { images, jpegs: [] };
    const batch = new DeviceBatch(read.images, read.jpegs, firstIndex, decoder, options);
    await batch.decodeHere([...images.keys()].filter((place) => !read.jpegs.at(place)));
    return batch;
  }

  /** Writes the rows, [images, dim], to `out`; resolves with the seconds of the forward passes. */
  async encode(
    engine: NativeEngine,
    out: Float32Array,
    { output, dim, normalize }: OutputPlan,
    cancel: Int32Array,
  ): Promise<number> {
    const failed = new Uint8Array(this.prepared.length);
    const seconds = await engine.encodeImages(this.prepared, output, out, failed, normalize, cancel);
    for (const image of this.prepared) if ("data" in image) freeMemory(image.data);
    const again = [...failed.keys()].filter((place) => failed[place] !== 0);
    if (again.length === 0) return seconds;
    // JPEG files that the device does not take.
    await this.decodeHere(again);
    const images = again.map((place) => {
      const image = this.prepared[place];
      return "jpeg" in image ? BLANK : image;
    });
    const rows = new Float32Array(again.length * dim);
    const stillFailed = new Uint8Array(again.length);
    const more = await engine.encodeImages(images, output, rows, stillFailed, normalize, cancel);
    for (const [row, place] of again.entries()) {
      out.set(rows.subarray(row * dim, (row + 1) * dim), place * dim);
    }
    return seconds + more;
  }

  /** Decodes the images at these places of the batch. */
  private async decodeHere(places: readonly number[]): Promise<void> {
    const images = places.map((place) => this.images[place]);
    const indexOf = (i: number) => this.firstIndex + places[i];
    const take = (raw: RawImage, i: number) => this.keep(raw, places[i]);
    const errors = await this.decoder.each(images, indexOf, this.options, take);
    for (const [i, error] of errors.entries()) this.errors[places[i]] = error;
  }

  /** A batch of huge images would hold all their pixels until the device has them: those are resized here. */
  private async keep(raw: RawImage, place: number): Promise<void> {
    this.held += raw.width * raw.height;
    this.prepared[place] = this.held > decodeBudget().total ? await this.decoder.resized(raw) : raw;
  }
}
