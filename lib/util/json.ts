import { readJsonObject } from "./untrusted.js";

const MOST_BYTES = 64 << 20;

/** The object in a JSON file of at most 64 MB; throws E_MODEL_CORRUPT where the file holds none. */
export const readJsonFile = (file: string): Promise<Record<string, unknown>> =>
  readJsonObject(file, MOST_BYTES);
