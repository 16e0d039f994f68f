import { existsSync } from "node:fs";
import { addon, type NativeLibtorch, type NativeSystem } from "../addon.js";
import { TorchclipError } from "../errors.js";
import { settings } from "../settings.js";
import { buildTools, cpuName, freeDisk, instructionSets, memory, type Tools } from "../setup/machine.js";
import { isClone, packageVersion, versionOf } from "../util/package.js";
import type { CheckFlags } from "./check-model.js";

interface Flags extends CheckFlags {
  model?: string;
  writeGoldens?: string;
}

/** What `torchclip doctor` does. */
export async function run(flags: Flags): Promise<void> {
  if (flags.model) return runModel(flags.model, flags);
  const ofModels = { goldens: flags.goldens, "write-goldens": flags.writeGoldens };
  for (const [option, value] of Object.entries(ofModels))
    if (value) throw new TorchclipError("E_ARGUMENT", `--${option} needs --model`, { subject: option });
  await describeMachine(flags.json ?? false);
}

async function runModel(model: string, flags: Flags): Promise<void> {
  const { checkModel, saveGoldens } = await import("./check-model.js");
  await (flags.writeGoldens ? saveGoldens(model, flags.writeGoldens) : checkModel(model, flags));
}

/** Free disk that a build from nothing takes: libtorch's archive, unpacked beside it, and the objects. */
const BUILD_DISK = 2e9;

/**
 * What was found, also where the addon is missing or does not load. In a clone, which is built here, that
 * includes what the build needs.
 */
async function describeMachine(json: boolean): Promise<void> {
  const { cacheDir, offline } = settings();
  const native = nativeSystem();
  const [tools, disk] = await Promise.all([isClone() ? buildTools() : undefined, freeDisk(cacheDir)]);
  const { total, free, limit } = memory();
  const limited = limit ? `, limited to ${gigabytes(limit)} here` : "";
  const found = {
    torchclip: packageVersion(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    sharp: versionOf("sharp"),
    ...describeNative(native),
    memory: `${gigabytes(total)}, ${gigabytes(free)} free${limited}`,
    disk: disk === undefined ? "unknown" : `${gigabytes(disk)} free for the cache`,
    cache: `${cacheDir}${existsSync(cacheDir) ? "" : " (not there yet)"}`,
    offline,
    ...(tools ? describeTools(tools) : {}),
  };
  const advice = [
    ...(native.explanation ? [native.explanation] : []),
    ...(native.explanation && tools ? buildAdvice(tools, disk) : []),
    ...(native.system ? gpuAdvice(native.system) : []),
    ...cpuAdvice(found.cpuFeatures),
  ];
  if (json) {
    const bytes = { memoryBytes: { total, free, limit }, diskBytes: disk };
    process.stdout.write(`${JSON.stringify({ ...found, ...bytes, advice }, null, 2)}\n`);
    return;
  }
  for (const [name, value] of Object.entries(found))
    process.stdout.write(`${name.padEnd(16)} ${text(value)}\n`);
  for (const line of advice) process.stdout.write(`\n${line}\n`);
}

function describeTools({ compiler, cmake, python }: Tools) {
  return {
    compiler: compiler.version ?? "not found",
    cmake: cmake.version ?? "not found",
    python: python.version ?? "not found",
  };
}

function text(value: string | boolean | string[] | undefined): string {
  return Array.isArray(value) ? value.join(" ") : String(value);
}

interface Native {
  system?: NativeSystem;
  /** Why the addon does not load: the first line of its error. */
  problem?: string;
  /** All of it, with what was tried and what mends it. */
  explanation?: string;
}

function nativeSystem(): Native {
  try {
    return { system: addon().systemInfo() };
  } catch (error) {
    const explanation = (error as Error).message;
    return { problem: explanation.split("\n")[0], explanation };
  }
}

/** The addon, libtorch, the CPU and the GPU, in the order in which they are shown. */
function describeNative({ system, problem }: Native) {
  if (!system) return { addon: problem, cpu: cpuName(), cpuFeatures: instructionSets() };
  const libtorch = libtorchHere();
  return {
    addon: "loads",
    libtorch: libtorch.problem ?? libtorch.info?.version,
    cpu: cpuName(),
    cpuFeatures: system.cpuFeatures,
    ...(libtorch.info ? { libtorchKernels: libtorch.info.cpuCapability } : {}),
    cuda: system.cudaProblem || `${system.cudaDevices} device(s)`,
    ...(system.cudaProblem ? {} : { cudaKernels: system.fastCudaProblem || "torchclip's own" }),
  };
}

/** The libtorch that TorchScript towers and `models verify` need; what else there is works without it. */
function libtorchHere(): { info?: NativeLibtorch; problem?: string } {
  try {
    return { info: addon().libtorchInfo() };
  } catch (error) {
    return { problem: (error as Error).message };
  }
}

/** Where the addon must be compiled: what its build lacks. */
function buildAdvice(tools: Tools, disk: number | undefined): string[] {
  const advice: string[] = [];
  for (const { problem } of Object.values(tools)) if (problem) advice.push(`${problem}.`);
  if (disk !== undefined && disk < BUILD_DISK)
    advice.push(`A build needs about ${gigabytes(BUILD_DISK)} of disk; ${gigabytes(disk)} are free.`);
  return advice;
}

function gpuAdvice({ cudaProblem, fastCudaProblem }: NativeSystem): string[] {
  if (!cudaProblem) return fastCudaProblem ? [`The GPU runs models by TorchScript: ${fastCudaProblem}.`] : [];
  if (!cudaProblem.includes("without CUDA")) return [];
  return [
    "For a GPU: TORCHCLIP_CUDA=1 npm run build (fetches a CUDA libtorch), " +
      "or point TORCHCLIP_LIBTORCH at one and npm run build.",
  ];
}

function cpuAdvice(cpuFeatures: readonly string[]): string[] {
  const isSlow = !cpuFeatures.includes("avx2") && process.arch === "x64";
  return isSlow ? ["This CPU has no AVX2; everything works, slowly."] : [];
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
