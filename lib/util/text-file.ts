import { readFile } from "node:fs/promises";
import { TorchclipError, type ErrorCode, cannotRead } from "../errors.js";

/**
 * The text of a file: UTF-8, or UTF-16 where it begins with the mark of that, as some spreadsheets write it.
 * A byte order mark is no part of the text. Throws `missing` where the file cannot be read, E_DATASET_FORMAT
 * where it is no such text.
 */
export async function readText(file: string, missing: ErrorCode = "E_DATASET_NOT_FOUND"): Promise<string> {
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw cannotRead(missing, file, cause);
  });
  const encoding = bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : "utf-8";
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes); // drops the mark
  } catch (cause) {
    throw new TorchclipError("E_DATASET_FORMAT", `${file} is no UTF-8 text; save it as UTF-8`, {
      subject: file,
      cause,
    });
  }
}

/** The lines of a text file that are not empty. */
export async function readLines(file: string, missing?: ErrorCode): Promise<string[]> {
  return (await readText(file, missing)).split(/\r?\n/).filter((line) => line.trim() !== "");
}
