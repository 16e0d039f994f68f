import { join } from "node:path";
import { basename } from "node:path/posix";
import { extract } from "tar";
import { TorchclipError } from "../../errors.js";
import { addressesOf, settings } from "../../settings.js";
import { downloadFrom, recordedOrigin } from "../../util/download.js";
import { exists, writeFolderWhole } from "../../util/files.js";
import type { Origin } from "../../util/origin.js";
import { unzip } from "../../util/unzip.js";
import type { DatasetOptions } from "../types.js";

/** A file that a data set's publisher offers. */
export interface Archive {
  url: string;
  /** As torchvision's data sets, or the publisher's page, give it. */
  md5: string;
  /** A file or folder inside, by which an unpacked copy is known; "" where that is the folder itself. */
  probe: string;
  /** "tar" (default, its first folder is `probe`), "zip" (the same), or "file": it is `probe` itself. */
  kind?: "tar" | "zip" | "file";
  /** Where the images are otherwise, a sentence; the error of a download that fails ends with it. */
  remedy?: string;
}

/** A folder with a publisher's files, and where they came from. */
export interface Unpacked {
  folder: string;
  origin: Origin;
}

/** The folder `inner` of a root, or the root where that is what it holds. */
export async function innerFolder(root: string, inner: string): Promise<string> {
  const folder = join(root, inner);
  return (await exists(folder)) ? folder : root;
}

/** The folder that holds `archive.probe`: `root`, or the cache, unpacked there where it is missing. */
export async function unpacked(name: string, archive: Archive, o: DatasetOptions): Promise<Unpacked> {
  if (o.root) {
    if (await exists(join(o.root, archive.probe))) return atRoot(o.root);
    throw new TorchclipError(
      "E_DATASET_NOT_FOUND",
      `${o.root} holds no ${archive.probe}, which ${name} unpacks to`,
      { subject: o.root },
    );
  }
  const { cacheDir } = settings(o);
  const whole = join(cacheDir, "datasets", name);
  const folder = join(whole, archive.probe);
  const file = archive.kind === "file" ? folder : join(cacheDir, "datasets", basename(archive.url));
  if (await exists(folder)) return { folder: whole, origin: await recordedOrigin(file) };
  const origin = await fetched(archive, file, o);
  if (archive.kind === "zip") await writeFolderWhole(whole, (temporary) => unzip(file, temporary));
  else if (archive.kind !== "file") await unpackTar(file, folder);
  return { folder: whole, origin };
}

/** A publisher's file at `target`, downloaded where it is missing. */
export async function fetched(
  { url, md5, remedy }: Pick<Archive, "url" | "md5" | "remedy">,
  target: string,
  o: DatasetOptions,
): Promise<Origin> {
  const at = settings(o);
  return downloadFrom(addressesOf(url, at), {
    target,
    hash: `md5:${md5}`,
    offline: at.offline,
    remedy:
      remedy ?? `A copy of ${basename(url)} from elsewhere, unpacked, is taken with --root (the option root)`,
    signal: o.signal,
    onNote: o.onNote,
    onProgress: o.onProgress,
  });
}

/** Unpacks a tar archive, whose first folder becomes `folder`, whole or not at all. */
async function unpackTar(file: string, folder: string): Promise<void> {
  await writeFolderWhole(folder, async (temporary) => {
    await extract({ file, cwd: temporary, strip: 1 });
  });
}

/** The files of a set in a folder of the user's. Nothing says whether they are the publisher's. */
export function atRoot(root: string): Unpacked {
  return { folder: root, origin: { kind: "root", location: root, hashKnown: false } };
}
