import { stat } from "node:fs/promises";
import { sep } from "node:path";
import { systemReason, TorchclipError } from "../errors.js";
import { IMAGE_NAME, UNDECODED_NAME } from "../images/image-names.js";
import { imageName } from "../images/source.js";
import { isLocation, isRemote, localPath } from "../redact.js";

/**
 * Whether a query of the command line is an image: an http(s) URL, or what is written as a path
 * (`looksLikePath`). Anything else is a text. A path where nothing is throws E_IMAGE_READ: searched for as a
 * text, a misspelt path would give hits that mean nothing.
 *
 * @example
 * await isImageQuery("a red circle"); // false
 * await isImageQuery("query.jpg"); // true where the file is there, else E_IMAGE_READ
 */
export async function isImageQuery(query: string): Promise<boolean> {
  if (isRemote(query) && URL.canParse(query)) return true;
  if (!looksLikePath(query)) return false;
  await checkThere(query);
  return true;
}

/**
 * Whether a query is written as a path: with a path separator, with the ending of an image file (also of a
 * format that is not decoded), or with ".", "~" or "file:" at its beginning.
 */
export function looksLikePath(query: string): boolean {
  if (/^[.~]/.test(query) || (isLocation(query) && !isRemote(query))) return true;
  if (query.includes("/") || query.includes(sep)) return true;
  return IMAGE_NAME.test(query) || UNDECODED_NAME.test(query);
}

async function checkThere(query: string): Promise<void> {
  try {
    await stat(localPath(query));
  } catch (cause) {
    const reason = systemReason(cause) ?? (cause as Error).message;
    const name = imageName(query);
    const message = `cannot read ${name}: ${reason}; --text searches for it as a text`;
    throw new TorchclipError("E_IMAGE_READ", message, { subject: name, cause });
  }
}
