import { TorchclipError } from "../errors.js";
import { seededRandom, shuffle } from "../util/random.js";
import { rowsByClass } from "./labelled.js";

/** Row numbers of two parts. */
export interface Division {
  kept: number[];
  held: number[];
}

/**
 * Holds out a share of the rows of each class, at least one where the class has two, drawn by the seed. Both
 * parts are in the order of the rows.
 */
export function holdOut(labels: Int32Array, classes: number, share: number, seed: number): Division {
  const random = seededRandom(seed);
  const division: Division = { kept: [], held: [] };
  for (const rows of rowsByClass(labels, classes)) {
    const shuffled = shuffle(random, rows.slice());
    const count = rows.length < 2 ? 0 : Math.max(1, Math.round(share * rows.length));
    division.held.push(...shuffled.slice(0, count));
    division.kept.push(...shuffled.slice(count));
  }
  const byNumber = (a: number, b: number) => a - b;
  return { kept: division.kept.sort(byNumber), held: division.held.sort(byNumber) };
}

/**
 * A balanced draw of `shots` rows of each class by the seed, without repetition. Throws E_ARGUMENT, naming the
 * class, where one has fewer.
 */
export function drawShots(
  labels: Int32Array,
  classes: readonly string[],
  shots: number,
  seed: number,
): Division {
  const random = seededRandom(seed);
  const division: Division = { kept: [], held: [] };
  for (const [id, rows] of rowsByClass(labels, classes.length).entries()) {
    if (rows.length < shots) {
      const message = `the class "${classes[id]}" has ${rows.length} training images, fewer than ${shots} shots`;
      throw new TorchclipError("E_ARGUMENT", message, { subject: "shots" });
    }
    // The rows that more shots draw contain those of fewer.
    const shuffled = shuffle(random, rows.slice());
    division.kept.push(...shuffled.slice(0, shots));
    division.held.push(...shuffled.slice(shots));
  }
  return division;
}
