import { hashString, pick, seededRandom, shuffle, type Random } from "../../util/random.js";
import type { TextImageOptions } from "../render/text.js";

/**
 * The sentences of `rendered-demo`: short film reviews of two classes, written by combining the words below.
 * A sentence belongs to one split for ever (by its hash), so that no test sentence is in training.
 */
export type ReviewSplit = "train" | "valid" | "test";
export interface Review {
  text: string;
  /** 0 negative, 1 positive: the class ids of Rendered SST2. */
  label: 0 | 1;
}

const POSITIVE = [
  "superb",
  "great",
  "lovely",
  "funny",
  "brilliant",
  "moving",
  "clever",
  "fresh",
  "charming",
  "gripping",
  "warm",
  "witty",
  "joyful",
  "amazing",
  "tender",
  "vivid",
  "perfect",
  "delicate",
  "smart",
  "beautiful",
  "stunning",
  "elegant",
  "honest",
  "magical",
];
const NEGATIVE = [
  "awful",
  "boring",
  "bad",
  "dull",
  "stupid",
  "terrible",
  "weak",
  "clumsy",
  "tedious",
  "lazy",
  "empty",
  "hollow",
  "messy",
  "painful",
  "shallow",
  "silly",
  "stale",
  "ugly",
  "lifeless",
  "bland",
  "horrible",
  "pointless",
  "noisy",
  "tired",
];
const NOUNS = [
  "film",
  "movie",
  "story",
  "cast",
  "plot",
  "script",
  "drama",
  "comedy",
  "ending",
  "scene",
  "thriller",
  "romance",
];
const MASS_NOUNS = ["music", "acting", "humor", "pacing"];
const ADVERBS = ["truly", "utterly", "so", "very", "just", "quite", "really", "simply"];
const CLASSES = [NEGATIVE, POSITIVE] as const;

/** Every sentence of one class, in a fixed order. */
function allSentences(label: 0 | 1): string[] {
  const words = CLASSES[label];
  const sentences: string[] = [];
  for (const word of words) {
    const article = /^([aeiou]|honest)/.test(word) ? "an" : "a";
    for (const noun of [...NOUNS, ...MASS_NOUNS]) sentences.push(`${word} ${noun}`, `${noun} is ${word}`);
    for (const noun of NOUNS) sentences.push(`${article} ${word} ${noun}`);
    for (const adverb of ADVERBS) sentences.push(`${adverb} ${word}`);
    for (const other of words) if (other !== word) sentences.push(`${word} and ${other}`);
  }
  return sentences;
}

function splitOf(sentence: string): ReviewSplit {
  const bucket = hashString(sentence) % 10;
  if (bucket < 3) return "test";
  return bucket === 3 ? "valid" : "train";
}

/** `count` reviews of a split, half of each class, no sentence twice; the order is seeded. */
export function reviews(split: ReviewSplit, count: number, seed = 7): Review[] {
  const chosen: Review[] = [];
  for (const label of [0, 1] as const) {
    const pool = shuffle(
      seededRandom(seed + label),
      allSentences(label).filter((s) => splitOf(s) === split),
    );
    const wanted = Math.ceil((count - label) / 2);
    if (wanted > pool.length)
      throw new RangeError(`reviews: the split "${split}" has only ${pool.length} sentences a class`);
    for (const text of pool.slice(0, wanted)) chosen.push({ text, label });
  }
  return chosen;
}

/** How the images of `rendered-demo` are laid out: large letters, a few pixels of seeded freedom. */
export function reviewLayout(text: string): TextImageOptions {
  const random = seededRandom(hashString(text) ^ 0x5bd1e995);
  return layout(random);
}

/** The same freedom with a generator of the caller's, for training images. */
export function layout(random: Random): TextImageOptions {
  return {
    face: "DejaVuSansCondensed-Bold",
    fontSize: pick(random, [72, 76, 80]),
    margin: 8,
    offset: { x: Math.floor(random() * 17), y: Math.floor(random() * 33) - 16 },
  };
}
