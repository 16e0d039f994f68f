import type { Dataset } from "../datasets/dataset.js";
import { TorchclipError } from "../errors.js";
import { averagePrecision, thresholdSteps } from "./metrics.js";

export interface MultiLabelPrecision {
  /** Mean of `perClass`. */
  mean: number;
  /** Average precision of each class; 0 of a class that no image has, as in scikit-learn. */
  perClass: number[];
}

/** What is measured where an image may have several classes. */
export interface MultiLabelMetrics {
  images: number;
  /** Mean average precision, without interpolation and by VOC 2007's 11 points. */
  meanAveragePrecision: { none: number; "11-point": number };
  perClass: {
    label: string;
    /** Images that have the class. */
    images: number;
    averagePrecision: { none: number; "11-point": number };
  }[];
}

/**
 * The metrics of images that may have several classes: each class ranks the images by its cosine.
 *
 * @param predictions the images that could be read, by their places in the data set, with a score for each class
 */
export function multiLabelMetrics(
  predictions: readonly { index: number; cosines: readonly number[] }[],
  data: Dataset,
): MultiLabelMetrics {
  const { classes } = data;
  const scores = predictions.flatMap(({ cosines }) => cosines);
  const targets = predictions.flatMap(({ index }) => {
    const labels = data.labelsAt(index);
    return classes.map((_, id) => Number(labels.includes(id)));
  });
  const plain = meanAveragePrecision(scores, targets, classes.length);
  const points = meanAveragePrecision(scores, targets, classes.length, "11-point");
  return {
    images: predictions.length,
    meanAveragePrecision: { none: plain.mean, "11-point": points.mean },
    perClass: classes.map((label, id) => ({
      label,
      images: targets.filter((target, i) => i % classes.length === id && target === 1).length,
      averagePrecision: { none: plain.perClass[id], "11-point": points.perClass[id] },
    })),
  };
}

/**
 * Mean average precision where an image may have several classes (Pascal VOC 2007).
 *
 * "none": precision at each threshold, weighted by the growth of recall (scikit-learn's
 * `average_precision_score(average="macro")`, CLIP_benchmark's `mean_average_precision` where no scores are equal).
 * "11-point": the mean of the highest precision at recall of at least 0, 0.1, … 1, by which VOC 2007 and the CLIP
 * paper rank.
 *
 * @param scores of each image with each class: images × classes, row by row
 * @param targets 1 where the image has the class, else 0, in the same order
 * @example
 * meanAveragePrecision([0.9, 0.1, 0.4, 0.6], [1, 0, 1, 1], 2).mean;
 */
export function meanAveragePrecision(
  scores: ArrayLike<number>,
  targets: ArrayLike<number>,
  classes: number,
  interpolation: "none" | "11-point" = "none",
): MultiLabelPrecision {
  const images = scores.length / classes;
  if (!Number.isInteger(images) || images === 0 || targets.length !== scores.length) {
    const message = `${scores.length} scores and ${targets.length} targets are no images × ${classes} classes`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: "scores" });
  }
  const perClass = Array.from({ length: classes }, (_, c) => {
    const column = (values: ArrayLike<number>) =>
      Array.from({ length: images }, (_, image) => values[image * classes + c]);
    const truth = column(targets);
    if (!truth.includes(1)) return 0;
    return interpolation === "none"
      ? averagePrecision(truth, column(scores))
      : elevenPoint(truth, column(scores));
  });
  return { mean: perClass.reduce((a, b) => a + b, 0) / classes, perClass };
}

/** Everingham et al. 2010, section 4.2; equal scores are one threshold. */
function elevenPoint(truth: readonly number[], scores: readonly number[]): number {
  const positives = truth.filter((target) => target === 1).length;
  const curve = thresholdSteps(truth, scores).map(({ hits, misses }) => ({
    precision: hits / (hits + misses),
    recall: hits / positives,
  }));
  let sum = 0;
  for (let tenths = 0; tenths <= 10; tenths++) {
    const reached = curve.filter(({ recall }) => recall >= tenths / 10);
    sum += reached.reduce((most, { precision }) => Math.max(most, precision), 0);
  }
  return sum / 11;
}
