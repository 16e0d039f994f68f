import { TorchclipError } from "../errors.js";
import type { ImageInput } from "../images/types.js";
import type { PromptSet } from "../text/prompts.js";
import type { Origin } from "../util/origin.js";
import { seededRandom, shuffle } from "../util/random.js";

export interface Sample {
  /**
   * The image: a path or URL, decoded pixels, or bytes that are read from an archive now. Nothing of it is
   * kept here, so a set of any size takes the memory of what is being used.
   */
  read(): ImageInput | Promise<ImageInput>;
  /** Class id: index in `classes`; the first of `labels`, where an image may have several. */
  label: number;
  /** All class ids of the image, in a set whose images may have several; absent in other sets. */
  labels?: readonly number[];
  /** What results call this image: its path or its row. */
  name: string;
}

/** All class ids of an image. */
function labelsOf({ label, labels = [label] }: Sample): readonly number[] {
  return labels;
}

/** How many images of each class a split has. */
export interface SplitCount {
  split: string;
  total: number;
  byClass: number[];
}

export interface DatasetInit {
  name: string;
  split: string;
  classes: readonly string[];
  samples: readonly Sample[];
  splits?: readonly SplitCount[];
  prompts?: readonly PromptSet[];
  source?: Origin;
  notes?: readonly string[];
}

/** A labelled set of images. Nothing is read or decoded until an image is used. */
export class Dataset implements Iterable<Sample> {
  readonly name: string;
  readonly split: string;
  readonly classes: readonly string[];
  /** Counts of every split that the set has, this one among them. */
  readonly splits: readonly SplitCount[];
  /** The set's own prompt templates, each with its source; may be empty. */
  readonly prompts: readonly PromptSet[];
  /** Where the images came from; undefined for a set that a program made of its own samples. */
  readonly source: Origin | undefined;
  /**
   * What was left out when the set was read (files that are not decoded, hidden ones, folders that are no
   * splits), a sentence each.
   */
  readonly notes: readonly string[];
  private readonly samples: readonly Sample[];

  constructor(init: DatasetInit) {
    this.name = init.name;
    this.split = init.split;
    this.classes = init.classes;
    this.samples = init.samples;
    this.prompts = init.prompts ?? [];
    this.source = init.source;
    this.notes = init.notes ?? [];
    this.splits = init.splits ?? [countSplit(init.split, init.samples, init.classes.length)];
    if (init.samples.length === 0)
      throw new TorchclipError(
        "E_DATASET_EMPTY",
        `the data set ${init.name} (${init.split}) holds no images`,
        { subject: init.name },
      );
  }

  get length(): number {
    return this.samples.length;
  }

  /** Whether an image may have several classes: then `labels` of its samples are what counts. */
  get isMultiLabel(): boolean {
    return this.samples.some(({ labels }) => labels !== undefined);
  }

  /** The i-th image and its class id. Throws E_ARGUMENT outside 0 … length-1. */
  at(index: number): Sample {
    const sample = this.samples[index];
    if (!sample)
      throw new TorchclipError(
        "E_ARGUMENT",
        `${this.name} has images 0 to ${this.length - 1}, not ${index}`,
        { index },
      );
    return sample;
  }

  /** All class ids of the i-th image. Throws E_ARGUMENT outside 0 … length-1. */
  labelsAt(index: number): readonly number[] {
    return labelsOf(this.at(index));
  }

  [Symbol.iterator](): Iterator<Sample> {
    return this.samples[Symbol.iterator]();
  }

  /** `count` images drawn without repetition, in random order; the same seed gives the same ones. */
  sample(count: number, seed = 0): Dataset {
    return this.with({ samples: shuffle(seededRandom(seed), this.samples.slice()).slice(0, count) });
  }

  /**
   * `count` images, as many of each class as that allows: the first ones of each, in the order of the set. (A
   * folder's images are in order of their class: the first ones of all would be of one class.)
   */
  limit(count: number): Dataset {
    const seen = new Map<number, number>();
    const ranked = this.samples.map((sample, index) => {
      const rank = seen.get(sample.label) ?? 0;
      seen.set(sample.label, rank + 1);
      return { sample, index, rank };
    });
    ranked.sort((a, b) => a.rank - b.rank || a.index - b.index);
    const taken = ranked.slice(0, count).sort((a, b) => a.index - b.index);
    return this.with({ samples: taken.map(({ sample }) => sample) });
  }

  /** The images and their names, each read when it is asked for. */
  async *images(from = 0): AsyncGenerator<{ name: string; image: ImageInput }> {
    for (const sample of this.samples.slice(from)) yield { name: sample.name, image: await sample.read() };
  }

  /**
   * Puts the classes in the order of `names`, which are all of the set's own names, with more beside them
   * where wanted, or the names of the ids where the set's classes are 0, 1, 2 …. Undefined where the names
   * are others. Throws E_ARGUMENT where a name is given twice or an id has no name.
   */
  withClasses(names: readonly string[]): Dataset | undefined {
    if (new Set(names).size !== names.length)
      throw new TorchclipError("E_ARGUMENT", "a class name is given twice", { subject: "classes" });
    const byName = this.classes.every((name) => names.includes(name));
    if (!byName && !this.classes.every((name) => /^\d+$/.test(name))) return undefined;
    const placeOf = (name: string) => (byName ? names.indexOf(name) : Number(name));
    const outside = this.classes.find((name) => placeOf(name) >= names.length);
    if (outside !== undefined) {
      throw new TorchclipError(
        "E_ARGUMENT",
        `${names.length} class names are given, and ${this.name} has the class id ${outside}`,
        { subject: "classes" },
      );
    }
    const places = this.classes.map(placeOf);
    const splits = this.splits.map(({ split, total, byClass }) => ({
      split,
      total,
      byClass: moved(byClass, places, names.length),
    }));
    const place = (label: number) => places[label] ?? label;
    const samples = this.samples.map((s) => ({
      ...s,
      label: place(s.label),
      ...(s.labels ? { labels: s.labels.map(place) } : {}),
    }));
    return this.with({ samples, classes: [...names], splits });
  }

  private with(changed: Partial<DatasetInit>): Dataset {
    const { name, split, classes, samples, splits, prompts, source, notes } = this;
    return new Dataset({ name, split, classes, samples, splits, prompts, source, notes, ...changed });
  }
}

/** Counts of classes, each at its new place among `length` classes. */
function moved(counts: readonly number[], places: readonly number[], length: number): number[] {
  const result = new Array<number>(length).fill(0);
  for (const [i, count] of counts.entries()) {
    const place = places[i] ?? i;
    result[place] = (result[place] ?? 0) + count;
  }
  return result;
}

export function countSplit(split: string, samples: readonly Sample[], classes: number): SplitCount {
  const byClass = new Array<number>(classes).fill(0);
  for (const labels of samples.map(labelsOf)) for (const id of labels) byClass[id] = (byClass[id] ?? 0) + 1;
  return { split, total: samples.length, byClass };
}
