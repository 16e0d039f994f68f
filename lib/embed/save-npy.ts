import { writeNpy, writeNpyWithJson } from "../util/npy.js";
import type { Partial } from "./partial.js";

/** All rows of a run, as they go into its file. */
export interface Finished {
  state: Partial;
  /** The row of `state` that each row of the file is. */
  order: readonly number[];
  dim: number;
  /** What is recorded about the run. */
  record: object;
}

/** OUT.npy and, with names, contents and errors, OUT.npy.json. */
export async function saveNpy(out: string, finished: Finished): Promise<void> {
  const { state, order, dim, record } = finished;
  const errors = errorsOf(finished).map(({ index, code, message }) => ({ index, code, message }));
  const names = order.map((row) => state.at(row).name);
  const contents = order.map((row) => state.at(row).content);
  const about = { ...record, rows: order.length, errors, names, contents };
  await writeNpyWithJson(out, about, (file) => writeNpy(file, order.length, dim, state.parts(order)));
}

/** The error of a row of the output. */
export interface RowError {
  index: number;
  code: string;
  message: string;
  name: string;
}

/** The errors of the rows that have no embedding. */
export function errorsOf({ state, order }: Pick<Finished, "state" | "order">): RowError[] {
  return order.flatMap((row, index) => {
    const { name, error } = state.at(row);
    return error ? [{ index, ...error, name }] : [];
  });
}
