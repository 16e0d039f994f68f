import { isAbsolute, relative } from "node:path";
import { TorchclipError } from "../errors.js";
import type { ImageInput } from "../images/types.js";
import { isRemote, isUrl, localPath } from "../redact.js";
import { pathInside } from "../util/inside.js";

/**
 * The image that a client names: a path below `root`, relative or absolute, or an http(s) URL, which the
 * model fetches where its options let it. A client is a language model that reads what others wrote, so that
 * other files of this machine are E_ARGUMENT; symbolic links are followed before the check.
 */
export async function imageBelow(root: string, image: string): Promise<ImageInput> {
  if (isRemote(image)) return image;
  const path = localPath(image);
  if (isUrl(path))
    throw new TorchclipError("E_ARGUMENT", "an image is a path or an http(s) URL", { subject: image });
  return pathInside(root, isAbsolute(path) ? relative(root, path) : path);
}
