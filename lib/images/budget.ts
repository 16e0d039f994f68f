import { availableParallelism } from "node:os";
import { abortedError } from "../errors.js";
import { decodeBudgetSetting } from "../settings.js";

interface Waiter {
  pixels: number;
  start: () => void;
}

/**
 * Pixels that may be in decoding at once. Images wait for their share in the order of their calls; one that
 * is larger than the whole budget waits until it is alone.
 */
export class PixelBudget {
  private used = 0;
  private readonly waiting: Waiter[] = [];

  constructor(readonly total: number) {}

  /**
   * Resolves, when there is room, with a function that gives the pixels back (once). Rejects with E_ABORTED.
   */
  take(pixels: number, signal?: AbortSignal): Promise<() => void> {
    const share = Math.min(pixels, this.total);
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(abortedError(signal));
        return;
      }
      const waiter: Waiter = {
        pixels: share,
        start: () => {
          signal?.removeEventListener("abort", leave);
          resolve(this.once(share));
        },
      };
      const leave = () => {
        this.waiting.splice(this.waiting.indexOf(waiter), 1);
        reject(abortedError(signal));
        this.startNext();
      };
      signal?.addEventListener("abort", leave, { once: true });
      this.waiting.push(waiter);
      this.startNext();
    });
  }

  /** Pixels in decoding now. */
  get inUse(): number {
    return this.used;
  }

  private startNext(): void {
    for (let next = this.waiting[0]; next && this.used + next.pixels <= this.total; next = this.waiting[0]) {
      this.waiting.shift();
      this.used += next.pixels;
      next.start();
    }
  }

  private once(pixels: number): () => void {
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.used -= pixels;
      this.startNext();
    };
  }
}

const LEAST_BUDGET = 128_000_000;
/** A photograph of 12 megapixels on each core, and some room. */
const PIXELS_A_CORE = 16_000_000;

let shared: PixelBudget | undefined;

/**
 * The budget of this thread of Node: TORCHCLIP_DECODE_PIXELS, else 128 megapixels or 16 a core, the larger of
 * both.
 */
export function decodeBudget(): PixelBudget {
  shared ??= new PixelBudget(
    decodeBudgetSetting() ?? Math.max(LEAST_BUDGET, PIXELS_A_CORE * availableParallelism()),
  );
  return shared;
}
