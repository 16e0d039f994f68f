import { join } from "node:path";
import { checkAborted, TorchclipError } from "../../errors.js";
import { writeFileWhole } from "../../util/files.js";
import { textPng, type TextImageOptions } from "./text.js";

export interface RenderOptions extends TextImageOptions {
  /** Class folders by label, e.g. ["negative", "positive"] for labels 0 and 1. Default: the label itself. */
  classes?: readonly string[];
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
}

/**
 * Sentences as images in Rendered SST2's layout: OUT/CLASS/NNNNN.png. Returns the paths, in order.
 * Throws E_LABEL_UNKNOWN for a numeric label that `classes` does not have.
 */
export async function renderFolder(
  sentences: readonly { text: string; label: string | number }[],
  out: string,
  options: RenderOptions = {},
): Promise<string[]> {
  const files: string[] = [];
  for (const [i, { text, label }] of sentences.entries()) {
    checkAborted(options.signal);
    const folder = folderOf(label, options.classes);
    if (folder === undefined) {
      const known = options.classes?.join(", ") ?? "the names that a folder can have";
      throw new TorchclipError("E_LABEL_UNKNOWN", `sentence ${i}: the label "${label}" is none of ${known}`, {
        index: i,
      });
    }
    const file = join(out, folder, `${String(i).padStart(5, "0")}.png`);
    await writeFileWhole(file, textPng(text, options));
    files.push(file);
    options.onProgress?.(i + 1, sentences.length);
  }
  return files;
}

/** The folder of a label's class; undefined where it is no class, or none that can be a folder's name. */
function folderOf(label: string | number, classes: readonly string[] | undefined): string | undefined {
  const name = String(label);
  const known = classes === undefined || classes.includes(name) ? name : undefined;
  const folder = classes?.[Number(label)] ?? known;
  return folder === undefined || /[/\\]|^\.*$/.test(folder) ? undefined : folder;
}
