import { TorchclipError } from "../errors.js";
import { untilAborted } from "../util/abort.js";
import { decodeBudget } from "./budget.js";
import { checkPixels, LONGEST_TIMER, type CheckedLimits } from "./limits.js";
import type { ImageFormat, RawImage } from "./types.js";

/** What an image's header says of its cost. */
export interface ImageHeader {
  width: number;
  height: number;
  format: ImageFormat | undefined;
}

/**
 * Called by a decoder between the header and the pixels: resolves when it may go on, rejects where it must
 * not.
 */
export type Admit = (header: ImageHeader) => Promise<void>;

/**
 * Runs a decoder within the time limit, the pixel limit and the budget of pixels, then `use` on its pixels.
 * The budget is held until both have ended. A decoder that does not end in time, or after the signal, is left
 * to itself: this rejects at once, what the decoder gives later is dropped, and its share of the budget is
 * given back only then.
 */
export async function guardedDecode<T>(
  name: string,
  limits: Pick<CheckedLimits, "decodeTimeout" | "maxPixels">,
  signal: AbortSignal | undefined,
  decode: (admit: Admit) => Promise<RawImage>,
  use: (image: RawImage) => Promise<T>,
): Promise<T> {
  const clock = new Clock(limits.decodeTimeout, name);
  let giveBack: (() => void) | undefined;
  let givenUp = false;
  const admit: Admit = async (header) => {
    checkPixels(name, header.width, header.height, limits.maxPixels);
    if (givenUp) throw new Error("nobody waits for these pixels any more");
    clock.pause();
    giveBack = await decodeBudget().take(weight(header), signal);
    clock.resume();
  };
  clock.resume();
  const decoding = decode(admit);
  try {
    const image = await untilAborted(Promise.race([decoding, clock.over]), signal);
    clock.pause();
    return await use(image);
  } finally {
    givenUp = true;
    clock.pause();
    void decoding.catch(() => undefined).finally(() => giveBack?.());
  }
}

/**
 * Pixels that an image counts in the budget. AVIF takes several times the memory of the others for a pixel.
 * What an SVG costs its size does not tell, and no limit ends it: it counts so much that only a few are drawn
 * at once, and the threads of the pool stay free for others.
 */
function weight({ width, height, format }: ImageHeader): number {
  const pixels = width * height;
  if (format === "avif") return AVIF_WEIGHT * pixels;
  if (format === "svg") return Math.max(pixels, Math.ceil(decodeBudget().total / SVG_AT_ONCE));
  return pixels;
}

const AVIF_WEIGHT = 4;
const SVG_AT_ONCE = 2;

/** Rejects `over` when it has run for `limit` milliseconds; waiting for others is not counted. */
class Clock {
  readonly over: Promise<never>;
  private expire!: (error: TorchclipError) => void;
  private timer: NodeJS.Timeout | undefined;
  private since = 0;
  private left: number;

  constructor(
    private readonly limit: number,
    private readonly name: string,
  ) {
    this.left = limit;
    this.over = new Promise((_, reject) => (this.expire = reject));
    this.over.catch(() => undefined); // nobody may be listening when it expires
  }

  resume(): void {
    this.since = performance.now();
    if (this.limit <= LONGEST_TIMER) this.timer = setTimeout(() => this.stop(), this.left);
  }

  pause(): void {
    if (!this.timer) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.left = Math.max(0, this.left - (performance.now() - this.since));
  }

  private stop(): void {
    const message = `cannot decode ${this.name}: it took longer than ${this.limit} ms (option decodeTimeout)`;
    this.expire(new TorchclipError("E_TIMEOUT", message, { subject: this.name }));
  }
}
