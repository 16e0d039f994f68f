import { randomBytes } from "node:crypto";
import { link, open, readFile, rename, rm, stat, utimes, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { abortedError, TorchclipError } from "../errors.js";
import { makeFolder, temporaryFor, writeAll, writing } from "./files.js";
import { bootTime, isDead, thisProcess, type ProcessIdentity } from "./owner.js";

/** What a lock file holds. */
interface Owner extends ProcessIdentity {
  /** Of this one lock: no other has it. */
  token: string;
}

interface Held {
  owner: Owner;
  /** When its owner last said that it lives, milliseconds since 1970. */
  beat: number;
}

export interface LockOptions {
  /**
   * Wait for the owner instead of failing at once. An owner that does not answer (see `stale`) fails all the
   * same.
   */
  wait?: boolean;
  /** Silence, in milliseconds, after which an owner on another host counts as dead. Default 30,000. */
  stale?: number;
  signal?: AbortSignal;
}

const STALE = 30_000;
const CLOCK_MARGIN = 2_000; // ms by which times of a file system and of the process may differ

/**
 * A lock that is a file: it names its owner (host, start of the machine, process, start of the process), so
 * that the lock of a process that has ended is taken over at once. The owner's host decides: elsewhere
 * nothing can be known of a process, so an owner that was silent for `stale` counts as dead there. Throws
 * E_LOCKED while it is held.
 */
export async function lock(path: string, options: LockOptions = {}): Promise<Lock> {
  const { wait = false, stale = STALE, signal } = options;
  await writing(path, () => makeFolder(dirname(path)));
  for (let pause = 20; ; pause = Math.min(2 * pause, 500)) {
    const owner: Owner = { ...thisProcess(), token: randomBytes(8).toString("hex") };
    const holder = await acquire(path, owner, stale);
    if (!holder) return new Lock(path, owner.token, stale);
    if (!wait || Date.now() - holder.beat > stale) throw lockedError(path, holder, stale);
    await sleep(pause, undefined, { signal }).catch(() => {
      throw abortedError(signal);
    });
  }
}

/** Runs `work` while a lock is held; waits for it. */
export async function withLock<T>(
  path: string,
  work: () => Promise<T>,
  options: Omit<LockOptions, "wait"> = {},
): Promise<T> {
  const held = await lock(path, { ...options, wait: true });
  try {
    return await work();
  } finally {
    await held.release();
  }
}

/** A lock that this process holds, until `release`. */
export class Lock {
  private readonly timer: NodeJS.Timeout;

  constructor(
    readonly path: string,
    private readonly token: string,
    stale: number,
  ) {
    this.timer = setInterval(() => void this.beat(), stale / 4);
    this.timer.unref();
  }

  /**
   * Throws E_LOCKED where another process has taken the lock meanwhile: this one was stopped for too long, or
   * the file was removed.
   */
  async check(): Promise<void> {
    const holder = await readLock(this.path);
    if (holder?.owner.token === this.token) return;
    clearInterval(this.timer);
    const who = holder ? ` by process ${holder.owner.pid} on ${hostOf(holder.owner)}` : "";
    throw new TorchclipError(
      "E_LOCKED",
      `${this.path} was taken over${who} while this process was stopped, or was removed; ` +
        "nothing more is written",
      { subject: this.path },
    );
  }

  async release(): Promise<void> {
    clearInterval(this.timer);
    if (await this.isHeld()) await rm(this.path, { force: true }).catch(() => undefined);
  }

  private async beat(): Promise<void> {
    if (await this.isHeld()) await utimes(this.path, new Date(), new Date()).catch(() => undefined);
    else clearInterval(this.timer);
  }

  private async isHeld(): Promise<boolean> {
    return (await readLock(this.path))?.owner.token === this.token;
  }
}

/**
 * Makes `owner` the holder; otherwise the holder that prevents it. A dead one is replaced by a rename, which
 * only the holder of a second lock, named after the dead one's token, may do: so of several that see it dead
 * one alone replaces it, and never a lock that came afterwards.
 */
async function acquire(path: string, owner: Owner, stale: number): Promise<Held | undefined> {
  for (;;) {
    const holder = await readLock(path);
    if (!holder) {
      if (await createLock(path, owner)) return undefined;
      continue; // another process was quicker
    }
    if (!isGone(holder, stale)) return holder;
    const right = `${path}.${holder.owner.token.slice(0, 8)}`;
    const other = await acquire(right, owner, stale);
    if (other) {
      await sleep(5);
      continue; // it is replaced by another process just now
    }
    try {
      if ((await readLock(path))?.owner.token === holder.owner.token) {
        await replaceLock(path, owner);
        return undefined;
      }
    } finally {
      await rm(right, { force: true }).catch(() => undefined);
    }
  }
}

/** Whether the holder of a lock will never release it. */
function isGone({ owner, beat }: Held, stale: number): boolean {
  const here = thisProcess();
  const silent = Date.now() - beat > stale;
  if (owner.host !== here.host) return silent;
  // A lock of this host from before its start; a later one of another start is of another machine with the
  // same name.
  if (owner.boot !== here.boot) return silent || beat < bootTime() - CLOCK_MARGIN;
  if (owner.namespace !== here.namespace) return silent; // another container
  // A worker thread of this very process that was ended leaves its lock behind.
  if (owner.pid === here.pid && owner.start === here.start) return silent;
  // Without a start time the number may be another process's by now.
  return isDead(owner.pid, owner.start) || (owner.start === undefined && silent);
}

/** Errors of `link` on file systems that have none: FAT, some network file systems. */
const NO_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);

/** Creates the lock with its content at once; false where there is one. */
async function createLock(path: string, owner: Owner): Promise<boolean> {
  return writing(path, async () => {
    const temporary = await writeTemporary(path, owner);
    try {
      await link(temporary, path);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EEXIST") return false;
      if (!NO_LINKS.has(code ?? "")) throw error;
      return await createWithoutLink(path, owner);
    } finally {
      await rm(temporary, { force: true });
    }
  });
}

async function createWithoutLink(path: string, owner: Owner): Promise<boolean> {
  let handle: FileHandle;
  try {
    handle = await open(path, "wx");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
  await writeAll(handle, Buffer.from(JSON.stringify(owner))).finally(() => handle.close());
  return true;
}

async function replaceLock(path: string, owner: Owner): Promise<void> {
  await writing(path, async () => rename(await writeTemporary(path, owner), path));
}

async function writeTemporary(path: string, owner: Owner): Promise<string> {
  const temporary = await temporaryFor(path);
  const handle = await open(temporary, "wx");
  try {
    await writeAll(handle, Buffer.from(JSON.stringify(owner)));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
  return temporary;
}

/**
 * The lock at `path`; undefined where there is none. What cannot be read as one is of nobody, and silent
 * since it was written.
 */
async function readLock(path: string): Promise<Held | undefined> {
  const info = await stat(path).catch(() => undefined);
  const text = await readFile(path, "utf8").catch((error: unknown) =>
    (error as NodeJS.ErrnoException).code === "ENOENT" ? undefined : "",
  );
  if (!info || text === undefined) return undefined;
  return { owner: ownerIn(text), beat: info.mtimeMs };
}

/** The owner in a lock's text; what is half-written, or not a lock of ours, gives an unknown one. */
function ownerIn(text: string): Owner {
  let found: Partial<Record<keyof Owner, unknown>> | null;
  try {
    found = JSON.parse(text) as Partial<Record<keyof Owner, unknown>> | null;
  } catch {
    found = null;
  }
  const { host, boot, namespace, pid, start, token } = found ?? {};
  return {
    host: stringOf(host) ?? "an unknown host",
    boot: stringOf(boot),
    namespace: stringOf(namespace),
    pid: typeof pid === "number" ? pid : 0,
    start: stringOf(start),
    token: stringOf(token) ?? "unknown0",
  };
}

const stringOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/** The machine's name, without the machine id behind it. */
const hostOf = ({ host }: Owner): string => host.replace(/\/.*$/s, "");

function lockedError(path: string, { owner, beat }: Held, stale: number): TorchclipError {
  const silent = Date.now() - beat;
  const stopped = silent > stale ? `; it has not answered for ${Math.round(silent / 1000)} s (stopped?)` : "";
  return new TorchclipError(
    "E_LOCKED",
    `${path} is held by process ${owner.pid} on ${hostOf(owner)}${stopped}`,
    { subject: path },
  );
}
