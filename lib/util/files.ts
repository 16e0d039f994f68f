import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { access, mkdir, open, readdir, realpath, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { systemReason, TorchclipError } from "../errors.js";
import { mapLimited } from "./iterate.js";
import { isDead, thisProcess } from "./owner.js";

/** Hash of a file's content, in hex; `prefix` is hashed before it. */
export async function hashFile(
  path: string,
  algorithm: "sha256" | "sha1" | "md5",
  signal?: AbortSignal,
  prefix = "",
): Promise<string> {
  const hash = createHash(algorithm).update(prefix);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, signal }))
    hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/** Whether a file or folder is there. */
export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** Errors that only writing gives, from every call. */
const WRITE_ONLY = new Set(["ENOSPC", "EDQUOT", "EROFS", "EFBIG"]);

/**
 * An error of the operating system while `path` is written, as E_WRITE with the reason in words. What is no
 * such error stays as it is: an abort, or a TorchclipError of what made the content.
 */
export function toWriteError(error: unknown, path: string): unknown {
  if (error instanceof TorchclipError) return error;
  const reason = systemReason(error);
  if (reason === undefined) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    const isRefused = code.startsWith("ERR_INVALID_ARG"); // a NUL in the path
    return isRefused ? new TorchclipError("E_ARGUMENT", message, { cause: error }) : error;
  }
  return new TorchclipError("E_WRITE", `cannot write ${path}: ${reason}`, { subject: path, cause: error });
}

/** Runs `work`, which writes `path`, and gives its errors as `toWriteError` does. */
export async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toWriteError(error, path);
  }
}

/**
 * Whether an error says that the place cannot be written by this user at all: a read-only cache, another
 * user's folder.
 */
export function isReadOnly(error: unknown): boolean {
  const { code } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
  return code === "EACCES" || code === "EROFS" || code === "EPERM";
}

/**
 * Writes all bytes: one call of the operating system may write fewer than asked, as on a disk that becomes
 * full.
 */
export async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength;) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.byteLength - at);
    at += bytesWritten;
  }
}

/** Reads into a buffer until it is full or the file ends; returns how many bytes there were. */
export async function readAll(handle: FileHandle, into: Uint8Array, position: number): Promise<number> {
  for (let at = 0; at < into.byteLength;) {
    const { bytesRead } = await handle.read(into, at, into.byteLength - at, position + at);
    if (bytesRead === 0) return at;
    at += bytesRead;
  }
  return into.byteLength;
}

/**
 * Creates a folder and those above it. Node.js's own `recursive` never ends where the system answers "no such
 * file" for a new folder whose parent is there, as /proc does.
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const parent = dirname(path);
    if (code === "ENOENT" && parent !== path) {
      await makeFolder(parent);
      await mkdir(path).catch((again: unknown) => {
        if ((again as NodeJS.ErrnoException).code !== "EEXIST") throw again;
      });
    } else if (!(await stat(path).catch(() => undefined))?.isDirectory()) {
      throw error;
    }
  }
}

const LONGEST_BASE = 150; // bytes of the name that is kept; names end at 255 on most file systems

/** A name beside `path` that nobody else uses, for a file that is renamed to `path` when it is whole. */
export function temporaryName(path: string): string {
  const name = basename(path);
  const base =
    Buffer.byteLength(name) <= LONGEST_BASE
      ? name
      : createHash("sha256").update(name).digest("hex").slice(0, 32);
  const { pid, start } = thisProcess();
  return join(
    dirname(path),
    `${base}.${machine()}-${pid}-${start ?? "0"}-${randomBytes(4).toString("hex")}.tmp`,
  );
}

const TEMPORARY = /\.([0-9a-f]{8})-(\d+)-(\w+)-[0-9a-f]{8}\.tmp$/;
/** Short for the machine, or the container, whose process numbers are meant. */
const machine = (): string => {
  const { host, namespace } = thisProcess();
  return createHash("sha256").update(`${host} ${namespace}`).digest("hex").slice(0, 8);
};
const swept = new Set<string>();

/** Removes a file or a folder; that it cannot be removed is no reason to fail. */
async function removeQuietly(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch(() => undefined);
}

/** Removes, once for each folder, the temporary files that killed processes of this machine left there. */
async function sweep(folder: string): Promise<void> {
  const place = resolve(folder);
  if (swept.has(place)) return;
  swept.add(place);
  const ours = machine();
  for (const name of await readdir(place).catch(() => [])) {
    const [, of, pid, start] = TEMPORARY.exec(name) ?? [];
    if (of !== ours || !isDead(Number(pid), start === "0" ? undefined : start)) continue;
    await removeQuietly(join(place, name));
  }
}

/**
 * A `temporaryName` in a folder that exists. What dead processes left there under such names is removed
 * first. Everything that is renamed to its place is made under such a name.
 */
export async function temporaryFor(path: string): Promise<string> {
  await sweep(dirname(path));
  return temporaryName(path);
}

/**
 * Makes what was created, renamed or removed in a folder survive a power cut. Platforms without that are left
 * alone.
 */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  if (!handle) return;
  try {
    await handle.sync();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EIO") throw error;
  } finally {
    await handle.close();
  }
}

/** The file that a path means: the target of a symbolic link. Refuses what is there and no regular file. */
async function targetOf(path: string): Promise<{ target: string; mode?: number }> {
  const there = await stat(path).catch(() => undefined);
  if (!there) return { target: path };
  if (!there.isFile()) {
    const what = there.isDirectory() ? "it is a folder (EISDIR)" : "it is no regular file";
    throw new TorchclipError("E_WRITE", `cannot write ${path}: ${what}`, { subject: path });
  }
  return { target: await realpath(path), mode: there.mode };
}

/**
 * A file that appears under its name when it is whole: written beside it under a temporary name, synced,
 * renamed. Every error of writing is E_WRITE. Call `place` or `discard` at the end; `writeWhole` does.
 */
export class NewFile {
  private constructor(
    readonly path: string,
    /** Where the content is until `place`. */
    readonly temporary: string,
    private readonly target: string,
    private readonly handle: FileHandle,
  ) {}

  static async create(path: string): Promise<NewFile> {
    return writing(path, async () => {
      await makeFolder(dirname(path));
      const { target, mode } = await targetOf(path);
      const temporary = await temporaryFor(target);
      const handle = await open(temporary, "wx", mode);
      return new NewFile(path, temporary, target, handle);
    });
  }

  async write(content: string | Uint8Array): Promise<void> {
    const bytes = typeof content === "string" ? Buffer.from(content) : content;
    await writing(this.path, () => writeAll(this.handle, bytes));
  }

  /** Brings the content onto the device. After it only the rename is left. */
  async sync(): Promise<void> {
    await writing(this.path, () => this.handle.sync());
  }

  /** The content takes its name, in place of what had it before. */
  async place(): Promise<void> {
    await writing(this.path, async () => {
      await this.handle.sync();
      await this.handle.close();
      await rename(this.temporary, this.target);
      await syncFolder(dirname(this.target));
    });
  }

  /** Removes what was written. Does nothing after `place`. */
  async discard(): Promise<void> {
    await this.handle.close().catch(() => undefined);
    await removeQuietly(this.temporary);
  }
}

/** Calls `write` with a new file and places it; on failure what was there before stays, and nothing else. */
export async function writeWhole(path: string, write: (file: NewFile) => Promise<void>): Promise<void> {
  const file = await NewFile.create(path);
  try {
    await write(file);
    await file.place();
  } catch (error) {
    await file.discard();
    throw error;
  }
}

/** `writeWhole` for content at hand. */
export async function writeFileWhole(path: string, content: string | Uint8Array): Promise<void> {
  await writeWhole(path, (file) => file.write(content));
}

/** `writeWhole` for code that opens the temporary file by its name, as the addon does. */
export async function writeNamedWhole(
  path: string,
  write: (temporary: string) => Promise<void>,
): Promise<void> {
  await writeWhole(path, (file) => writing(path, () => write(file.temporary)));
}

/**
 * A folder that appears under its name when all in it is written and synced. `write` gets the temporary
 * folder, which exists. Errors of writing are E_WRITE; errors of reading what is unpacked stay as they are.
 */
export async function writeFolderWhole(
  path: string,
  write: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = await writing(path, async () => {
    await makeFolder(dirname(path));
    const name = await temporaryFor(path);
    await mkdir(name);
    return name;
  });
  try {
    await write(temporary);
    await writing(path, async () => {
      await syncTree(temporary);
      await rename(temporary, path);
      await syncFolder(dirname(path));
    });
  } catch (error) {
    await removeQuietly(temporary);
    const { code = "", path: place = "" } = error as NodeJS.ErrnoException;
    const isOfWriting = WRITE_ONLY.has(code) || place.startsWith(temporary);
    throw isOfWriting ? toWriteError(error, path) : error;
  }
}

const SYNCS = 16; // at once

async function syncTree(folder: string): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name));
  await mapLimited(files, SYNCS, syncFile);
  const folders = entries.filter((e) => e.isDirectory()).map((e) => join(e.parentPath, e.name));
  for (const each of [...folders, folder]) await syncFolder(each);
}

/** Brings a file that something else wrote onto the device. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, "r+");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
