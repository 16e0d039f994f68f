import type { LaneName } from "./metrics.js";

/**
 * Turns at the model. Texts, which are short work, go before images; but while images wait, one of their
 * turns comes after each turn of texts, so that neither lane stands still.
 */
export class Gate {
  private running = 0;
  private last: LaneName = "images";
  private readonly waiting: Record<LaneName, (() => void)[]> = { images: [], texts: [] };

  /** @param slots Turns that run at once. */
  constructor(private readonly slots: number) {}

  /** Runs `work` when it is the lane's turn. */
  async run<T>(lane: LaneName, work: () => Promise<T>): Promise<T> {
    await new Promise<void>((start) => {
      this.waiting[lane].push(start);
      this.next();
    });
    try {
      return await work();
    } finally {
      this.running--;
      this.next();
    }
  }

  private next(): void {
    const { images, texts } = this.waiting;
    while (this.running < this.slots && images.length + texts.length > 0) {
      const textsFirst = texts.length > 0 && (images.length === 0 || this.last === "images");
      this.last = textsFirst ? "texts" : "images";
      this.running++;
      const [start] = this.waiting[this.last].splice(0, 1);
      start();
    }
  }
}
