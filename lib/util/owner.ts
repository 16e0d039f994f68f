import type * as ChildProcess from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { hostname, uptime } from "node:os";
import { pid as ownPid, platform } from "node:process";
import { childEnvironment } from "../settings.js";

const require = createRequire(import.meta.url);

/** What tells one process from every other one: what a lock holds. */
export interface ProcessIdentity {
  /** Name and machine id. Process numbers of another host mean nothing here. */
  host: string;
  /** Of this start of the machine, where the system has one (Linux). */
  boot?: string;
  /** The namespace that the process number belongs to: containers of one machine have their own. */
  namespace?: string;
  pid: number;
  /**
   * When the process started, in the system's own form: a number that is used again belongs to another start.
   */
  start?: string;
}

const read = (path: string): string | undefined => {
  try {
    const text = readFileSync(path, "utf8").trim();
    return text === "" ? undefined : text;
  } catch {
    return undefined;
  }
};

const link = (path: string): string | undefined => {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
};

let own: ProcessIdentity | undefined;

/** The identity of this process. */
export function thisProcess(): ProcessIdentity {
  own ??= {
    host: [hostname(), read("/etc/machine-id")].filter(Boolean).join("/"),
    boot: read("/proc/sys/kernel/random/boot_id"),
    namespace: link("/proc/self/ns/pid"),
    pid: ownPid,
    start: startOf(ownPid),
  };
  return own;
}

/** Time when this machine was started, in milliseconds since 1970. */
export const bootTime = (): number => Date.now() - uptime() * 1000;

/**
 * What /proc/PID/stat holds behind the process's name, which itself may hold spaces and brackets: its state,
 * 18 numbers, its start.
 */
const statusOf = (pid: number): string[] | undefined => {
  const text = read(`/proc/${pid}/stat`);
  return text?.slice(text.lastIndexOf(")") + 2).split(" ");
};

/** When a process started; undefined where the system does not say (Windows), or there is no such process. */
function startOf(pid: number): string | undefined {
  if (platform === "linux") return statusOf(pid)?.[19];
  if (platform === "win32") return undefined;
  try {
    const { execFileSync } = require("node:child_process") as typeof ChildProcess;
    const text = execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], {
      encoding: "utf8",
      env: childEnvironment({ LC_ALL: "C", TZ: "UTC" }),
    });
    const start = text.replace(/\W+/g, "");
    return start === "" ? undefined : start;
  } catch {
    return undefined;
  }
}

/**
 * Whether process `pid` of this host, started at `start`, has ended. What is not known for certain counts as
 * living.
 */
export function isDead(pid: number, start: string | undefined): boolean {
  if (!exists(pid)) return true;
  // A process in one of these states has ended; only its parent has not asked for its status.
  if (platform === "linux" && /^[ZXx]/.test(statusOf(pid)?.[0] ?? "")) return true;
  const found = startOf(pid);
  return start !== undefined && found !== undefined && found !== start;
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0); // sends nothing
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
