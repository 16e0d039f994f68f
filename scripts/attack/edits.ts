// Changes of an artifact's records, and what hostile artifacts are.
import type { Entry } from "./zip.js";

export interface HostileArtifact {
  name: string;
  bytes: () => Buffer;
  /**
   * What must happen: a code of TorchclipError, or "same": the file loads and gives the embeddings of the
   * whole one, because what was changed is never read.
   */
  expect: "E_MODEL_CORRUPT" | "E_MODEL_UNSAFE" | "E_MODEL_UNSUPPORTED" | "same";
}

/** Changes the records of an artifact, whose names begin with `folder`. */
export type Edit = (entries: Entry[], folder: string) => Entry[];
/** The bytes of a whole artifact after an edit. */
export type Make = (edit: Edit) => () => Buffer;

export const replace =
  (name: string, change: (data: Buffer) => Buffer, more: Partial<Entry> = {}): Edit =>
  (entries, folder) =>
    entries.map((e) => (e.name === folder + name ? { name: e.name, data: change(e.data), ...more } : e));
export const add =
  (...added: Entry[]): Edit =>
  (entries, folder) => [...entries, ...added.map((e) => ({ ...e, name: folder + e.name }))];
export const addMany =
  (count: number): Edit =>
  (entries, folder) =>
    entries.concat(
      Array.from({ length: count }, (_, i) => ({ name: `${folder}data/9${i}`, data: Buffer.alloc(0) })),
    );
export const both =
  (first: Edit, second: Edit): Edit =>
  (entries, folder) =>
    second(first(entries, folder), folder);
