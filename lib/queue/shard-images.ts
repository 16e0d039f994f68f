import { setTimeout as sleep } from "node:timers/promises";
import type { ImageSource, NamedImage } from "../embed/sources.js";
import { TorchclipError } from "../errors.js";
import { DEFAULT_LIMITS, mergeLimits, type CheckedLimits } from "../images/limits.js";
import { EncodedImage, readImage } from "../images/source.js";
import type { ImageInput, ImageLimits } from "../images/types.js";
import { isRemote, redactUrl } from "../redact.js";
import { Untrusted } from "../util/untrusted.js";
import { isS3, parseLocation } from "./location.js";
import { partName, type ListedImage, type Run, type RunSettings, type Shard } from "./run.js";
import { S3, type S3Options } from "./s3.js";
import type { Store } from "./store.js";

/** Remote images that are read at once, ahead of the one that is embedded. */
const AHEAD = 32;
/** Attempts to fetch a URL, and the pause before the second one in ms, which doubles. */
const ATTEMPTS = 4;
const PAUSE = 250;

/** The images of a shard. E_QUEUE where its lines are damaged, or are not as many as it has rows. */
export async function readImages(store: Store, { id }: Run, shard: Shard): Promise<ListedImage[]> {
  const part = partName(id, shard.part);
  const bytes = await store.readRange(part, shard.at, shard.length);
  return parseImages(bytes, shard, `${store.where}/${part}`);
}

function parseImages(bytes: Buffer, { rows, shard }: Shard, where: string): ListedImage[] {
  const check = new Untrusted("E_QUEUE", where);
  const lines = bytes.toString("utf8").split("\n").slice(0, -1);
  if (lines.length !== rows) throw check.error(`shard ${shard} has ${lines.length} lines for ${rows} images`);
  return lines.map((line) => {
    const found = check.object(check.largeJson(line, `shard ${shard}`), `a line of shard ${shard}`);
    return { name: check.text(found.name, "name"), image: check.text(found.image, "image") };
  });
}

/** The limits of images that a run has. */
export function limitsOf({ maxPixels, urls, allowPrivate }: RunSettings): ImageLimits {
  return { maxPixels, sources: { url: urls, allowPrivate } };
}

/** Reads the images of shards: local ones when they are decoded, remote ones ahead, with further attempts. */
export class ShardReader {
  private s3: Promise<S3> | undefined;
  private readonly limits: CheckedLimits;

  constructor(
    settings: RunSettings,
    private readonly s3Options: S3Options,
  ) {
    this.limits = mergeLimits(limitsOf(settings), DEFAULT_LIMITS);
  }

  /** A source of these images; those at the places of `aside` are not read and become errors. */
  source(images: readonly ListedImage[], aside: ReadonlySet<number> = new Set()): ImageSource {
    const input = (i: number): NamedImage => {
      const { name, image } = images[i];
      return { name, image: aside.has(i) ? setAside(image) : this.input(image) };
    };
    return {
      count: images.length,
      notes: () => [],
      async *images(skip) {
        const started: NamedImage[] = [];
        for (let i = skip; i < images.length; i++) {
          started.push(input(i));
          if (started.length === AHEAD) yield* started.splice(0, 1);
        }
        yield* started;
        await Promise.resolve();
      },
    };
  }

  /** An image as the model takes it. What is read ahead is read already. */
  input(image: string): ImageInput {
    if (isS3(image)) return encoded(image, this.fromS3(image));
    if (isRemote(image)) return encoded(redactUrl(image), this.fetched(image));
    return image;
  }

  private async fetched(url: string): Promise<Uint8Array> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await readImage(url, this.limits);
      } catch (error) {
        if (attempt === ATTEMPTS || !mayPass(error)) throw error;
      }
      await sleep(PAUSE * 2 ** (attempt - 1));
    }
  }

  /** The SDK itself makes further attempts. */
  private async fromS3(image: string): Promise<Uint8Array> {
    const location = parseLocation(image, "image");
    if (location.kind !== "s3") throw cannotRead(image, "it is in no bucket");
    try {
      this.s3 ??= S3.open(this.s3Options);
      const s3 = await this.s3;
      const bytes = await s3.get(location.bucket, location.key, { most: this.limits.maxBytes });
      if (bytes) return bytes;
    } catch (error) {
      if (!(error instanceof TorchclipError)) throw cannotRead(image, (error as Error).message, error);
      if (error.code !== "E_IMAGE_TOO_LARGE") throw error;
      throw new TorchclipError(error.code, `${image}: ${error.message}`, { subject: image });
    }
    throw cannotRead(image, "there is no such object");
  }
}

function cannotRead(image: string, why: string, cause?: unknown): TorchclipError {
  return new TorchclipError("E_IMAGE_READ", `cannot read ${image}: ${why}`, { subject: image, cause });
}

/** Whether another attempt may succeed: not after an answer that says the request is wrong, or a refusal. */
function mayPass(error: unknown): boolean {
  const { code, message } = error as TorchclipError;
  if (code !== "E_IMAGE_READ") return false;
  const status = Number(/HTTP (\d{3})/.exec(message)?.[1] ?? 0);
  const isLasting = status >= 400 && status < 500 && status !== 408 && status !== 429;
  return !isLasting && !/not a public address|are not read here|no valid URL/.test(message);
}

/** An image that ended the workers that embedded it. */
function setAside(image: string): ImageInput {
  const shown = redactUrl(image);
  const message = `${shown} was set aside: the workers that embedded it ended without an error`;
  const error = new TorchclipError("E_INTERNAL", message, { subject: shown });
  return encoded(shown, Promise.reject(error));
}

/** The decoder takes what is being read, which the type of callers' inputs does not show. */
function encoded(name: string, bytes: Promise<Uint8Array>): ImageInput {
  return new EncodedImage(name, bytes) as unknown as ImageInput;
}
