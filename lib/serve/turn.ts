import { setImmediate as nextTurn } from "node:timers/promises";

/** Milliseconds of the event loop that the work of a request takes in one turn. */
const LENGTH = 3;

/** The turn of a request at the event loop, which it gives to the others from time to time. */
export class Turn {
  private began = performance.now();

  /** Whether it has lasted long enough. */
  get isOver(): boolean {
    return performance.now() - this.began >= LENGTH;
  }

  /** Lets the others have their turns, and begins the next one. */
  async pass(): Promise<void> {
    await nextTurn();
    this.began = performance.now();
  }
}
