import { TorchclipError } from "../errors.js";
import type { ImageInput } from "../images/decode.js";
import type { PromptSet } from "../text/prompts.js";
import { seededRandom, shuffle } from "../util/random.js";

export interface Sample {
  image: ImageInput;
  /** Class id: index in `classes`. */
  label: number;
  /** What results call this picture: its path or its row. */
  name: string;
}

/** How many pictures of each class a split has. */
export interface SplitCount {
  split: string;
  total: number;
  byClass: number[];
}

export interface DatasetInit {
  name: string;
  split: string;
  classes: string[];
  samples: Sample[];
  splits?: SplitCount[];
  prompts?: PromptSet[];
  source?: string;
}

/** A labelled set of pictures. Nothing is decoded until a picture is used. */
export class Dataset implements Iterable<Sample> {
  readonly name: string;
  readonly split: string;
  readonly classes: readonly string[];
  /** Counts of every split that the set has, this one among them. */
  readonly splits: readonly SplitCount[];
  /** The set's own prompt templates, each with its source; may be empty. */
  readonly prompts: readonly PromptSet[];
  readonly source: string;
  private readonly samples: readonly Sample[];

  constructor(init: DatasetInit) {
    this.name = init.name;
    this.split = init.split;
    this.classes = init.classes;
    this.samples = init.samples;
    this.prompts = init.prompts ?? [];
    this.source = init.source ?? "";
    this.splits = init.splits ?? [countSplit(init.split, init.samples, init.classes.length)];
    if (init.samples.length === 0)
      throw new TorchclipError("E_DATASET_EMPTY", `the data set ${init.name} (${init.split}) holds no pictures`, { subject: init.name });
  }

  get length(): number {
    return this.samples.length;
  }

  /** The i-th picture and its class id. Throws E_ARGUMENT outside 0 … length-1. */
  at(index: number): Sample {
    const sample = this.samples[index];
    if (!sample) throw new TorchclipError("E_ARGUMENT", `${this.name} has pictures 0 to ${this.length - 1}, not ${index}`, { index });
    return sample;
  }

  [Symbol.iterator](): Iterator<Sample> {
    return this.samples[Symbol.iterator]();
  }

  /** `count` pictures drawn without repetition, in random order; the same seed gives the same ones. */
  sample(count: number, seed = 0): Dataset {
    return this.with(shuffle(seededRandom(seed), this.samples.slice()).slice(0, count));
  }

  /** The first `count` pictures. */
  limit(count: number): Dataset {
    return this.with(this.samples.slice(0, count));
  }

  /**
   * Puts the classes in the order of `names`, which are all of the set's own names, with more beside them where wanted, or
   * the names of the ids where the set's classes are 0, 1, 2 …. Undefined where the names are others. Throws E_ARGUMENT where a
   * name is given twice or an id has no name.
   */
  withClasses(names: readonly string[]): Dataset | undefined {
    if (new Set(names).size !== names.length) throw new TorchclipError("E_ARGUMENT", "a class name is given twice", { subject: "classes" });
    const byName = this.classes.every((name) => names.includes(name));
    if (!byName && !this.classes.every((name) => /^\d+$/.test(name))) return undefined;
    const placeOf = this.classes.map((name) => (byName ? names.indexOf(name) : Number(name)));
    const outside = placeOf.findIndex((place) => place >= names.length);
    if (outside >= 0) {
      throw new TorchclipError("E_ARGUMENT", `${names.length} class names are given, and ${this.name} has the class id ${this.classes[outside]}`, {
        subject: "classes",
      });
    }
    const splits = this.splits.map(({ split, total, byClass }) => {
      const moved = new Array<number>(names.length).fill(0);
      byClass.forEach((count, i) => (moved[placeOf[i]] += count));
      return { split, total, byClass: moved };
    });
    const samples = this.samples.map((s) => ({ ...s, label: placeOf[s.label] }));
    return this.with(samples, [...names], splits);
  }

  private with(samples: Sample[], classes = [...this.classes], splits = [...this.splits]): Dataset {
    return new Dataset({
      name: this.name,
      split: this.split,
      classes,
      samples,
      splits,
      prompts: [...this.prompts],
      source: this.source,
    });
  }
}

export function countSplit(split: string, samples: readonly Sample[], classes: number): SplitCount {
  const byClass = new Array<number>(classes).fill(0);
  for (const s of samples) byClass[s.label]++;
  return { split, total: samples.length, byClass };
}
