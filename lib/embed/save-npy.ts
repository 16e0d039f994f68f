import { rm } from "node:fs/promises";
import { NewFile, writeWhole, writing } from "../util/files.js";
import { writeNpy } from "../util/npy.js";
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

/**
 * OUT.npy and OUT.npy.json: both are written before either takes its name, and the old names never lie beside
 * new rows.
 */
export async function saveNpy(out: string, finished: Finished): Promise<void> {
  const { state, order, dim, record } = finished;
  const errors = errorsOf(finished).map(({ index, code, message }) => ({ index, code, message }));
  const names = order.map((row) => state.at(row).name);
  const about = { ...record, rows: order.length, errors, names };
  const namesFile = await NewFile.create(`${out}.json`);
  try {
    await namesFile.write(`${JSON.stringify(about)}\n`);
    await namesFile.sync();
    await writeWhole(out, async (rows) => {
      await writeNpy(rows, order.length, dim, state.parts(order));
      await rows.sync();
      await writing(namesFile.path, () => rm(namesFile.path, { force: true }));
    });
    await namesFile.place();
  } catch (error) {
    await namesFile.discard();
    throw error;
  }
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
