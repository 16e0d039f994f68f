import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { cpus, freemem, totalmem } from "node:os";
import { dirname } from "node:path";
import { platform } from "node:process";
import { promisify } from "node:util";
import { buildSettings } from "../settings.js";

const run = promisify(execFile);

/** A program that the build needs: its version, or why it does not run. */
export interface Tool {
  command: string;
  /** First line of its --version; absent where it cannot be run. */
  version?: string;
  /** What is wrong with it, with what to install. */
  problem?: string;
}

export interface Tools {
  compiler: Tool;
  cmake: Tool;
  python: Tool;
}

/**
 * What `npm run build` uses: a C++20 compiler, CMake >= 3.22, and a Python with pip, by which libtorch may be
 * fetched.
 */
export async function buildTools(): Promise<Tools> {
  const { compiler: cxx, python: interpreter } = buildSettings();
  const [compiler, cmake, python] = await Promise.all([
    firstThatRuns(cxx ? [cxx] : ["c++", "g++", "clang++"]),
    firstThatRuns(["cmake"]),
    firstThatRuns([interpreter]),
  ]);
  if (!compiler.version) {
    const remedy = install("g++", "Xcode's command line tools");
    compiler.problem = `no C++20 compiler was found (${compiler.command}): ${remedy}`;
  }
  if (!cmake.version)
    cmake.problem = `CMake >= 3.22 was not found: ${install("cmake", "brew install cmake")}`;
  else if (olderThan(cmake.version, 3, 22)) cmake.problem = `${cmake.version} is older than 3.22`;
  if (!python.version)
    python.problem = `no Python (${python.command}); it is needed only where libtorch must be fetched by pip`;
  else if (!(await runs(python.command, ["-m", "pip", "--version"])))
    python.problem = `${python.version} has no pip, by which libtorch may be fetched`;
  return { compiler, cmake, python };
}

/** Bytes; `limit` is that of the container (cgroup) where there is one. */
export function memory(): { total: number; free: number; limit?: number } {
  const limit = process.constrainedMemory();
  const total = totalmem();
  return { total, free: freemem(), ...(limit > 0 && limit < total ? { limit } : {}) };
}

/** Free bytes where `folder` is, or will be. */
export async function freeDisk(folder: string): Promise<number | undefined> {
  for (let at = folder; ; at = dirname(at)) {
    const found = await statfs(at).catch(() => undefined);
    if (found) return found.bavail * found.bsize;
    if (dirname(at) === at) return undefined;
  }
}

const FLAGS: Record<string, string> = {
  avx2: "avx2",
  fma: "fma",
  avx_vnni: "avx_vnni",
  avx512f: "avx512f",
  avx512_vnni: "avx512_vnni",
  avx512_bf16: "avx512_bf16",
  amx_bf16: "amx_bf16",
  amx_int8: "amx_int8",
  asimd: "neon",
  asimddp: "dotprod",
  i8mm: "i8mm",
  bf16: "bf16",
};

/**
 * Instruction sets that matter here, as the system names them; the addon asks the CPU itself. Empty where it
 * cannot be told.
 */
export function instructionSets(): string[] {
  if (platform !== "linux") return process.arch === "arm64" ? ["neon"] : [];
  try {
    const line = /^(?:flags|Features)\s*: (.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1];
    const flags = new Set(line?.split(" "));
    return Object.entries(FLAGS)
      .filter(([flag]) => flags.has(flag))
      .map(([, name]) => name);
  } catch {
    return [];
  }
}

export function cpuName(): string {
  const all = cpus();
  return `${all.at(0)?.model.trim() ?? "unknown"}, ${all.length} cores`;
}

async function firstThatRuns(commands: string[]): Promise<Tool> {
  for (const command of commands) {
    const version = await runs(command, ["--version"]);
    if (version) return { command, version };
  }
  return { command: commands.join(", ") };
}

async function runs(command: string, args: string[]): Promise<string | undefined> {
  const result = await run(command, args, { timeout: 10_000 }).catch(() => undefined);
  if (!result) return undefined;
  const output = result.stdout === "" ? result.stderr : result.stdout;
  const firstLine = output.split("\n")[0].trim();
  return firstLine === "" ? "present" : firstLine;
}

function olderThan(text: string, major: number, minor: number): boolean {
  const match = /(\d+)\.(\d+)/.exec(text);
  if (!match) return false;
  const found = { major: Number(match[1]), minor: Number(match[2]) };
  return found.major < major || (found.major === major && found.minor < minor);
}

function install(debian: string, mac: string): string {
  if (platform === "darwin") return mac;
  return `on Debian and Ubuntu, apt-get install ${debian}`;
}
