import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { TorchclipError } from "../errors.js";
import type { FoundImages } from "../report/sheet.js";
import type { IndexRecord } from "../search/stored.js";
import { writeFileWhole } from "../util/files.js";
import { note } from "./io.js";

export interface SheetOptions {
  /** The folder of --root, where it is given. */
  root?: string;
  record: IndexRecord;
  /** What an .html shows above the images. */
  heading: string;
}

/** Writes a contact sheet, a .png or .html, of images that an index names. */
export async function saveSheet(
  file: string,
  found: readonly FoundImages[],
  { root: given, record, heading }: SheetOptions,
): Promise<void> {
  const root = await imageFolder(given, record, "a contact sheet");
  const { contactSheetHtml, contactSheetPng } = await import("../report/sheet.js");
  if (/\.html?$/i.test(file)) {
    await writeFileWhole(file, await contactSheetHtml(found, root, dirname(file), heading));
  } else if (/\.png$/i.test(file)) {
    await writeFileWhole(file, await contactSheetPng(found, root));
  } else {
    const message = `a contact sheet is a .png or .html file, not ${file}`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: "sheet" });
  }
}

/**
 * The folder of an index's images: that of --root, else the one that the index names, which a note says.
 * E_ARGUMENT where it is not known or is no folder; `what` needs it.
 */
export async function imageFolder(
  given: string | undefined,
  { kind, input }: IndexRecord,
  what: string,
): Promise<string> {
  const root = given ?? (kind === "images" ? input : undefined);
  if (!root || !(await stat(root).catch(() => undefined))?.isDirectory()) {
    const message = `${what} needs the folder of the index's images: --root FOLDER`;
    throw new TorchclipError("E_ARGUMENT", message, { subject: "root" });
  }
  if (!given) note(`Images for ${what} come from ${root}, which the index names.`);
  return root;
}
