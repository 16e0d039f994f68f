import { realpath } from "node:fs/promises";
import { isAbsolute, join, relative, sep } from "node:path";
import { TorchclipError, cannotRead } from "../errors.js";

/**
 * The path of a file below `root` that a name from a file gives; symbolic links are followed. Refuses with
 * E_ARGUMENT what leaves the folder: an absolute name, a URL, "..", a link to somewhere else.
 */
export async function pathInside(root: string, name: string): Promise<string> {
  const refuse = (why: string) =>
    new TorchclipError("E_ARGUMENT", `"${name}" leads out of ${root}: ${why}`, { subject: name });
  // A colon alone is part of a file's name.
  if (isAbsolute(name) || /^([a-z][a-z\d+.-]*:\/\/|file:|data:)/i.test(name))
    throw refuse("it is no path below a folder");
  const path = join(root, name);
  if (leaves(root, path)) throw refuse("it goes to a folder above");
  const missing = (cause: unknown): never => {
    throw cannotRead("E_IMAGE_READ", path, cause);
  };
  const [realRoot, real] = await Promise.all([realpath(root), realpath(path)]).catch(missing);
  if (leaves(realRoot, real)) throw refuse(`it is a link to ${real}`);
  return real;
}

function leaves(root: string, path: string): boolean {
  const from = relative(root, path);
  return from === ".." || from.startsWith(`..${sep}`) || isAbsolute(from);
}
