import { toTorchclipError } from "../errors.js";
import type { CheckedLimits } from "../images/limits.js";
import { readImage } from "../images/source.js";

/** URLs that a server fetches at once; others wait. */
const AT_ONCE = 32;

/** What bounds the fetch of an image. */
export type RemoteLimits = Pick<CheckedLimits, "fetchTimeout" | "maxBytes" | "sources">;

/**
 * Fetches the images that requests name by URLs, before they join a batch: a server that answers slowly holds
 * up the request that names it, and no other one.
 */
export class RemoteImages {
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly limits: RemoteLimits) {}

  /** The bytes behind an http(s) URL. Rejects with E_IMAGE_READ, E_IMAGE_TOO_LARGE or E_ABORTED. */
  async fetch(url: string, signal: AbortSignal): Promise<Uint8Array> {
    while (this.running >= AT_ONCE) await new Promise<void>((start) => this.waiting.push(start));
    this.running++;
    try {
      return await readImage(url, this.limits, signal);
    } catch (error) {
      throw toTorchclipError(error, "E_IMAGE_READ");
    } finally {
      this.running--;
      this.waiting.shift()?.();
    }
  }
}
