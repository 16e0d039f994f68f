import { readFile } from "node:fs/promises";
import { TorchclipError } from "../errors.js";

/** The object in a JSON file; throws E_MODEL_CORRUPT where the file holds none. */
export async function readJsonFile(file: string): Promise<Record<string, unknown>> {
  try {
    const value = JSON.parse(await readFile(file, "utf8")) as unknown;
    if (!value || typeof value !== "object" || Array.isArray(value)) throw new Error("it is no object");
    return value as Record<string, unknown>;
  } catch (cause) {
    throw new TorchclipError("E_MODEL_CORRUPT", `${file} cannot be read as JSON: ${(cause as Error).message}`, { subject: file, cause });
  }
}
