import { hashString, seededRandom, shuffle, type Random } from "../util/random.js";

/**
 * The order in which images are trained on: all of them in a random order, then all again in another. A place
 * in that sequence depends on the seed alone, so that a run that goes on from a checkpoint sees what an
 * unbroken run sees.
 */
export class Sampler {
  private epoch = -1;
  private order: number[] = [];

  constructor(
    private readonly images: number,
    private readonly seed: number,
  ) {}

  /** The images at places [start, start + count). */
  batch(start: number, count: number): number[] {
    return Array.from({ length: count }, (_, i) => this.at(start + i));
  }

  /** The image at a place. */
  private at(place: number): number {
    const epoch = Math.floor(place / this.images);
    if (epoch !== this.epoch) {
      const random = randomOf(this.seed, `epoch ${epoch}`);
      const all = Array.from({ length: this.images }, (_, i) => i);
      this.order = shuffle(random, all);
      this.epoch = epoch;
    }
    return this.order[place % this.images];
  }
}

/** The generator of one purpose, "epoch 3" or "image 17", of a run. */
export function randomOf(seed: number, purpose: string): Random {
  return seededRandom(hashString(`${seed} ${purpose}`));
}
