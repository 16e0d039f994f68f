import { RequestError } from "./errors.js";

/**
 * Bytes of the bodies that are received or in work at once. Without it, many clients that each send a body of
 * the largest size would fill the memory before one of them is refused.
 */
export class BodyBudget {
  private used = 0;

  constructor(private readonly total: number) {}

  /** Takes bytes. Throws a 503 where there are too few. */
  take(bytes: number): void {
    if (this.used + bytes > this.total) {
      const message = "the bodies of other requests take all memory that the server has for them";
      throw new RequestError(503, "E_BUSY", message);
    }
    this.used += bytes;
  }

  giveBack(bytes: number): void {
    this.used -= bytes;
  }

  get inUse(): number {
    return this.used;
  }
}
