import { link, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { toTorchclipError } from "../errors.js";
import {
  makeFolder,
  syncFolder,
  temporaryFor,
  writeAll,
  writeFileWhole,
  writeWhole,
  writing,
} from "../util/files.js";
import { readExactly } from "../util/untrusted.js";
import type { Store } from "./store.js";

/** Below it are the work folders, so that a shard takes its name by a rename within one file system. */
const WORK = "work";

/** A store in a folder, which may be one of a network file system that all workers see. */
export class LocalStore implements Store {
  constructor(readonly where: string) {}

  async read(name: string): Promise<Buffer | undefined> {
    const path = this.pathOf(name);
    try {
      return await readFile(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw toTorchclipError(error, "E_READ", { subject: path });
    }
  }

  async readRange(name: string, at: number, length: number): Promise<Buffer> {
    const path = this.pathOf(name);
    try {
      const file = await open(path);
      return await readExactly(file, at, length).finally(() => file.close());
    } catch (error) {
      throw toTorchclipError(error, "E_READ", { subject: path });
    }
  }

  async write(name: string, content: string | Uint8Array | AsyncIterable<string>): Promise<void> {
    const path = this.pathOf(name);
    if (typeof content === "string" || content instanceof Uint8Array) return writeFileWhole(path, content);
    await writeWhole(path, async (file) => {
      for await (const part of content) await file.write(part);
    });
  }

  async create(name: string, content: string | Uint8Array): Promise<boolean> {
    const path = this.pathOf(name);
    return writing(path, async () => {
      await makeFolder(dirname(path));
      const temporary = await temporaryFor(path);
      try {
        await writeSynced(temporary, content);
        await link(temporary, path); // fails if the name is taken, by this process or another
        await syncFolder(dirname(path));
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
        throw error;
      } finally {
        await rm(temporary, { force: true });
      }
    });
  }

  async place(name: string, file: string): Promise<void> {
    const path = this.pathOf(name);
    await writing(path, async () => {
      await makeFolder(dirname(path));
      await rename(file, path);
      await syncFolder(dirname(path));
    });
  }

  async *list(folder: string): AsyncGenerator<{ name: string; bytes: number }> {
    for (const name of await this.namesIn(this.pathOf(folder))) {
      if (name.endsWith(".tmp")) continue;
      const info = await stat(this.pathOf(`${folder}/${name}`)).catch(() => undefined);
      if (info?.isFile()) yield { name: `${folder}/${name}`, bytes: info.size };
    }
  }

  async remove(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const path = this.pathOf(name);
      await writing(path, () => rm(path, { force: true }));
    }
  }

  async workFolder(): Promise<string> {
    const parent = this.pathOf(WORK);
    return writing(parent, async () => {
      await makeFolder(parent);
      const folder = await temporaryFor(join(parent, "shard"));
      await mkdir(folder);
      return folder;
    });
  }

  async sweep(): Promise<void> {
    await rm(this.pathOf(WORK), { recursive: true, force: true });
  }

  private pathOf(name: string): string {
    return join(this.where, ...name.split("/"));
  }

  private async namesIn(path: string): Promise<string[]> {
    try {
      return await readdir(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw toTorchclipError(error, "E_READ", { subject: path });
    }
  }
}

async function writeSynced(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, "wx");
  try {
    await writeAll(file, typeof content === "string" ? Buffer.from(content) : content);
    await file.sync();
  } finally {
    await file.close();
  }
}
