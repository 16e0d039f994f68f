import type { Embeddings } from "../embeddings.js";
import { TorchclipError } from "../errors.js";
import { gatherRows } from "../util/rows.js";

/** Features of labelled images. */
export interface LabelledFeatures {
  /** float32 [rows, dim] */
  features: Embeddings;
  /** Class ids, one a row. */
  labels: Int32Array;
}

/** Some rows, in the order of their numbers. */
export function pickRows({ features, labels }: LabelledFeatures, rows: readonly number[]): LabelledFeatures {
  return {
    features: gatherRows(features, rows),
    labels: Int32Array.from(rows, (row) => labels[row]),
  };
}

/** The rows of both, one after the other. Throws E_ARGUMENT for different dimensions. */
export function joinRows(a: LabelledFeatures, b: LabelledFeatures): LabelledFeatures {
  const { dim } = a.features;
  if (b.features.dim !== dim) {
    const message = `features of different dimension: ${dim} and ${b.features.dim}`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: "features" });
  }
  const data = new Float32Array(a.features.data.length + b.features.data.length);
  data.set(a.features.data);
  data.set(b.features.data, a.features.data.length);
  return {
    features: { data, rows: a.features.rows + b.features.rows, dim },
    labels: Int32Array.from([...a.labels, ...b.labels]),
  };
}

/** Throws E_ARGUMENT, with the row as its index, for a label that is no class id. */
export function checkClassIds(labels: Int32Array, classes: number): void {
  const row = labels.findIndex((label) => label < 0 || label >= classes);
  if (row < 0) return;
  const message = `row ${row} has the label ${labels[row]}, and there are ${classes} classes`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: "labels", index: row });
}

/** The rows of each class, in their order. Throws E_ARGUMENT for a label that is no class id. */
export function rowsByClass(labels: Int32Array, classes: number): number[][] {
  checkClassIds(labels, classes);
  const rows = Array.from({ length: classes }, (): number[] => []);
  labels.forEach((label, row) => rows[label].push(row));
  return rows;
}

/** The share of labels that were predicted. */
export function accuracyOf(predicted: Int32Array, labels: Int32Array): number {
  let hits = 0;
  labels.forEach((label, i) => (hits += predicted[i] === label ? 1 : 0));
  return labels.length > 0 ? hits / labels.length : NaN;
}
