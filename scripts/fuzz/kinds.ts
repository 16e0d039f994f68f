// What a reader under test is, and the kinds of them.
import { readWeights } from "../../lib/models/formats/index.js";
import type { Random } from "../../lib/util/random.js";
import {
  encodeMessage,
  mutateJson,
  mutateMessage,
  mutateOperations,
  pickleOperations,
  type Json,
  type Message,
} from "./mutators.js";

/**
 * A reader under test: structures, how they change, the file that they become, and the reader of that file.
 */
export interface FuzzedReader<T> {
  /** Name of the file. */
  file: string;
  seeds(): Promise<T[]>;
  mutate(structure: T, random: Random): T;
  encode(structure: T): Buffer;
  /** What the program does with such a file. */
  read(file: string): Promise<unknown>;
  /** Seconds of the processor that any file may take; the tokenizers' own limit is 2 s. */
  floor?: number;
}

/** A file of JSON. */
export function json(
  file: string,
  seeds: () => unknown[] | Promise<unknown[]>,
  read: (file: string) => Promise<unknown>,
  encode?: (value: Json) => Buffer,
): FuzzedReader<Json> {
  return {
    file,
    seeds: async () => (await seeds()) as Json[],
    mutate: mutateJson,
    encode: encode ?? ((value) => Buffer.from(JSON.stringify(value))),
    read,
  };
}

/** A file of weights around a pickle. */
export function pickles(
  file: string,
  seeds: Buffer[],
  encode: (pickle: Buffer) => Buffer,
): FuzzedReader<Buffer[]> {
  return {
    file,
    seeds: () => Promise.resolve(seeds.map(pickleOperations)),
    mutate: mutateOperations,
    encode: (operations) => encode(Buffer.concat(operations)),
    read: readWeights,
  };
}

/** A protocol buffer. */
export const messages = (
  file: string,
  seeds: Message[][],
  read: (file: string) => Promise<unknown>,
): FuzzedReader<Message[]> => ({
  file,
  seeds: () => Promise.resolve(seeds),
  mutate: mutateMessage,
  encode: encodeMessage,
  read,
});
