import { stat } from "node:fs/promises";
import { isAbsolute, join, sep } from "node:path";
import { ARCHIVE_NAME, imageSource, LIST_NAME, listed, type ImageSource } from "../embed/sources.js";
import { cannotRead, TorchclipError } from "../errors.js";
import { IMAGE_NAME, LeftOut } from "../images/image-names.js";
import { isUrl } from "../redact.js";

/** Stands for a list of paths on standard input. */
const STANDARD_INPUT = "-";

/**
 * The images that the arguments of a command name, in the order of the arguments: image files, URLs, folders,
 * .tar files and lists (as `imageSource` reads them), patterns such as "photos/*.jpg", and "-" for paths on
 * standard input, one a line. Images of a folder or pattern come in order of their names. The name of an
 * image is its path as the argument leads to it.
 *
 * Throws E_IMAGE_READ for an argument that does not exist, E_DATASET_EMPTY for one that names no image.
 */
export async function imageArguments(given: readonly string[], signal: AbortSignal): Promise<ImageSource> {
  if (given.filter((argument) => argument === STANDARD_INPUT).length > 1) {
    const message = "standard input (-) can be read only once, and stands twice among the arguments";
    throw new TorchclipError("E_ARGUMENT", message, { subject: STANDARD_INPUT });
  }
  const sources: ImageSource[] = [];
  for (const argument of given) sources.push(await sourceOf(argument, signal));
  return {
    count: sum(sources.map((source) => source.count)),
    notes: () => sources.flatMap((source) => source.notes()),
    async *images(skip) {
      let left = skip;
      for await (const image of all(sources)) if (left-- <= 0) yield image;
    },
  };
}

async function* all(sources: readonly ImageSource[]): ReturnType<ImageSource["images"]> {
  for (const source of sources) yield* source.images(0);
}

function sum(counts: readonly (number | undefined)[]): number | undefined {
  let total = 0;
  for (const count of counts) {
    if (count === undefined) return undefined;
    total += count;
  }
  return total;
}

async function sourceOf(argument: string, signal: AbortSignal): Promise<ImageSource> {
  if (argument === STANDARD_INPUT) return standardInput(signal);
  if (isUrl(argument)) return files(argument, [argument]);
  const found = await stat(argument).catch((cause: unknown) => cannotRead("E_IMAGE_READ", argument, cause));
  if (found instanceof TorchclipError) {
    // A file of that name goes before the pattern: "a[1].jpg" is a common name.
    const pattern = await matching(argument);
    if (pattern) return pattern;
    throw found;
  }
  if (found.isDirectory() || ARCHIVE_NAME.test(argument)) return below(argument, await imageSource(argument));
  return LIST_NAME.test(argument) ? imageSource(argument) : files(argument, [argument]);
}

function files(argument: string, paths: readonly string[], notes: string[] = []): ImageSource {
  const images = paths.map((path) => ({ name: path, read: () => path }));
  return listed(argument, images, notes);
}

/** A source with the path of its folder or archive before the names. */
function below(folder: string, source: ImageSource): ImageSource {
  return {
    ...source,
    async *images(skip) {
      for await (const { name, image } of source.images(skip)) yield { name: join(folder, name), image };
    },
  };
}

/**
 * The image files that a pattern matches, hidden ones only where the pattern says so; undefined for an
 * argument that is no pattern.
 */
async function matching(pattern: string): Promise<ImageSource | undefined> {
  const { glob, isDynamicPattern } = await import("tinyglobby");
  if (!isDynamicPattern(pattern)) return undefined;
  const slashed = sep === "\\" ? pattern.replaceAll("\\", "/") : pattern;
  const found = await glob(slashed, { expandDirectories: false, absolute: isAbsolute(pattern) });
  if (found.length === 0) {
    const message = `cannot read ${pattern}: there is no such file, and as a pattern it matches none`;
    throw new TorchclipError("E_IMAGE_READ", message, { subject: pattern });
  }
  const leftOut = new LeftOut();
  for (const file of found) leftOut.add(file);
  const images = found.filter((file) => IMAGE_NAME.test(file)).sort();
  return files(pattern, images, leftOut.notes(pattern));
}

/** Paths and URLs on standard input, one a line; they are read as they are needed. */
function standardInput(signal: AbortSignal): ImageSource {
  return {
    count: undefined,
    notes: () => [],
    async *images() {
      const { createInterface } = await import("node:readline");
      const lines = createInterface({ input: process.stdin, crlfDelay: Infinity, signal });
      for await (const line of lines) if (line.trim() !== "") yield { name: line, image: line };
    },
  };
}
