import { existsSync } from "node:fs";
import { cpus } from "node:os";
import { Option, type Command } from "commander";
import { addon, type NativeInfo, type NativeLibtorch, type NativeSystem } from "../addon.js";
import type { Clip } from "../clip/clip.js";
import { load } from "../clip/load.js";
import type { ClipInfo, Device, Precision } from "../clip/options.js";
import { check, leastCosine } from "../clip/precision.js";
import { TorchclipError } from "../errors.js";
import {
  goldenInputs,
  goldensBeside,
  readGoldens,
  writeGoldens,
  type Goldens,
} from "../models/store/goldens.js";
import { resolveModel } from "../models/store/resolve.js";
import { settings } from "../settings.js";
import { buildTools, cpuName, freeDisk, instructionSets, memory, type Tools } from "../setup/machine.js";
import { packageVersion, versionOf } from "../util/package.js";

interface DoctorFlags {
  json?: boolean;
  model?: string;
  device: Device;
  goldens?: string;
  writeGoldens?: string;
}

export function doctorCommand(program: Command): void {
  program
    .command("doctor")
    .description("what was found on this machine, and what to do about what is missing")
    .option(
      "-m, --model <name|path>",
      "check a model here, in every precision: against its goldens, else against TorchScript in fp32 on the CPU",
    )
    .option(
      "--goldens <file>",
      "with --model: what its reference gives (default: MODEL.goldens.json beside its artifact, where there is one)",
    )
    .option(
      "--write-goldens <file>",
      "with --model: write what TorchScript in fp32 gives on this CPU, to check another machine by",
    )
    .addOption(new Option("-d, --device <device>", "with --model: the device to check").default("auto"))
    .option("--json", "print JSON")
    .action(async (flags: DoctorFlags) => {
      if (flags.model)
        return flags.writeGoldens
          ? saveGoldens(flags.model, flags.writeGoldens)
          : checkModel(flags.model, flags);
      for (const [option, value] of Object.entries({
        goldens: flags.goldens,
        "write-goldens": flags.writeGoldens,
      }))
        if (value) throw new TorchclipError("E_ARGUMENT", `--${option} needs --model`, { subject: option });
      await machine(flags.json ?? false);
    });
}

/** Free disk that a build from nothing takes: libtorch's archive, unpacked beside it, and the objects. */
const BUILD_DISK = 2e9;

/** What was found, also where the addon is missing or does not load: then above all what its build needs. */
async function machine(json: boolean): Promise<void> {
  const at = settings();
  const native = nativeSystem();
  const system = native.system;
  const libtorch = libtorchHere();
  const [tools, disk] = await Promise.all([buildTools(), freeDisk(at.cacheDir)]);
  const { total, free, limit } = memory();
  const found = {
    torchclip: packageVersion(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    sharp: versionOf("sharp"),
    addon: system ? "loads" : native.problem,
    ...(system ? { libtorch: libtorch.problem ?? libtorch.info?.version } : {}),
    cpu: cpuName(),
    cpuFeatures: system ? system.cpuFeatures : instructionSets(),
    ...(system
      ? {
          libtorchKernels: libtorch.info?.cpuCapability,
          cuda: system.cudaProblem || `${system.cudaDevices} device(s)`,
          ...(system.cudaProblem ? {} : { cudaKernels: system.fastCudaProblem || "torchclip's own" }),
        }
      : {}),
    memory: `${gigabytes(total)}, ${gigabytes(free)} free${limit ? `, limited to ${gigabytes(limit)} here` : ""}`,
    disk: disk === undefined ? "unknown" : `${gigabytes(disk)} free for the cache`,
    cache: `${at.cacheDir}${existsSync(at.cacheDir) ? "" : " (not there yet)"}`,
    offline: at.offline,
    compiler: tools.compiler.version ?? "not found",
    cmake: tools.cmake.version ?? "not found",
    python: tools.python.version ?? "not found",
  };
  const advice = adviceFor(native, tools, disk, found.cpuFeatures);
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ ...found, memoryBytes: { total, free, limit }, diskBytes: disk, advice }, null, 2)}\n`,
    );
    return;
  }
  for (const [name, value] of Object.entries(found))
    process.stdout.write(`${name.padEnd(16)} ${Array.isArray(value) ? value.join(" ") : String(value)}\n`);
  for (const line of advice) process.stdout.write(`\n${line}\n`);
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

/** The libtorch that TorchScript towers and `models verify` need; what else there is works without it. */
function libtorchHere(): { info?: NativeLibtorch; problem?: string } {
  try {
    return { info: addon().libtorchInfo() };
  } catch (error) {
    return { problem: (error as Error).message };
  }
}

function adviceFor(
  { system, explanation }: Native,
  tools: Tools,
  disk: number | undefined,
  cpuFeatures: string[],
): string[] {
  const advice: string[] = [];
  if (explanation) {
    advice.push(explanation);
    // The tools count where something must be compiled.
    for (const { problem } of Object.values(tools)) if (problem) advice.push(`${problem}.`);
    if (disk !== undefined && disk < BUILD_DISK)
      advice.push(`A build needs about ${gigabytes(BUILD_DISK)} of disk; ${gigabytes(disk)} are free.`);
  }
  if (system && /without CUDA/.test(system.cudaProblem))
    advice.push(
      "For a GPU: TORCHCLIP_CUDA=1 npm run build (fetches a CUDA libtorch), " +
        "or point TORCHCLIP_LIBTORCH at one and npm run build.",
    );
  if (system && !system.cudaProblem && system.fastCudaProblem)
    advice.push(`The GPU runs models by TorchScript: ${system.fastCudaProblem}.`);
  if (!cpuFeatures.includes("avx2") && process.arch === "x64")
    advice.push("This CPU has no AVX2; everything works, slowly.");
  return advice;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

const PRECISIONS = ["fp32", "bf16", "fp16", "int8"] as const;
/** Largest difference in fp32 and least cosines that are accepted, as in the tests (docs/precision.md). */
const ACCEPTED = { fp32: 1e-5, bf16: 0.9995, fp16: 0.9995, int8: 0.999 } as const;

interface Row {
  precision: Precision;
  device: string;
  image: string;
  text: string;
  /** Largest difference of one number of a normalised embedding. */
  difference: number;
  cosine: number;
  ok: boolean;
}

function row(
  precision: keyof typeof ACCEPTED,
  info: NativeInfo | ClipInfo,
  reference: Float32Array,
  embeddings: Float32Array,
): Row {
  const difference = embeddings.reduce((most, x, i) => Math.max(most, Math.abs(x - reference[i])), 0);
  const cosine = leastCosine(reference, embeddings, info.embedDim);
  const ok = precision === "fp32" ? difference <= ACCEPTED.fp32 : cosine >= ACCEPTED[precision];
  return {
    precision,
    device: info.device,
    image: info.imageRunner,
    text: info.textRunner,
    difference,
    cosine,
    ok,
  };
}

/**
 * A model on this machine, in each precision: against its goldens, from the image and the text on; without
 * any, the runner that would be used against the artifact's TorchScript in fp32 on the CPU. Fails where one
 * is worse than the project accepts.
 */
async function checkModel(name: string, flags: DoctorFlags): Promise<void> {
  const path = await resolveModel(name, {});
  const file = flags.goldens ?? goldensBeside(path);
  const goldens = await readGoldens(file);
  if (flags.goldens && !goldens)
    throw new TorchclipError("E_ARGUMENT", `no such file: ${file}`, { subject: file });
  const against = goldens ? `${goldens.by}: ${file}` : "TorchScript in fp32 on this CPU";
  const rows = goldens
    ? await againstGoldens(path, flags.device, goldens, file)
    : await againstTorchScript(path, flags.device);
  if (flags.json) process.stdout.write(`${JSON.stringify({ model: name, path, against, rows }, null, 2)}\n`);
  else {
    process.stdout.write(`${path}\nagainst ${against}\n`);
    for (const r of rows)
      process.stdout.write(
        `${r.ok ? "ok  " : "BAD "} ${r.precision.padEnd(4)} on ${r.device}: ` +
          `largest difference ${r.difference.toExponential(2)}, least cosine ${r.cosine.toFixed(6)}  ` +
          `(image: ${r.image}; text: ${r.text})\n`,
      );
  }
  if (rows.some((r) => !r.ok))
    throw new TorchclipError(
      "E_INTERNAL",
      `${name} is not computed as accurately here as it should be; see above`,
      { subject: name },
    );
}

async function againstTorchScript(path: string, device: Device): Promise<Row[]> {
  const run = async (on: Device, precision: string, generic: boolean) => {
    const engine = new (addon().Engine)();
    try {
      const info = await engine.load(path, on, precision, 0, generic, false, false);
      return { info, embeddings: (await check(engine, info)).embeddings };
    } finally {
      await engine.close();
    }
  };
  const reference = await run("cpu", "fp32", true);
  const rows: Row[] = [];
  for (const precision of PRECISIONS) {
    const { info, embeddings } = await run(device, precision, false);
    rows.push(row(precision, info, reference.embeddings, embeddings));
  }
  return rows;
}

async function againstGoldens(path: string, device: Device, goldens: Goldens, file: string): Promise<Row[]> {
  const reference = Float32Array.from([...goldens.image, ...goldens.text].flat());
  const rows: Row[] = [];
  for (const precision of PRECISIONS) {
    const clip = await load(path, { device, precision });
    try {
      if (clip.info.embedDim !== goldens.image[0].length || clip.info.embedDim !== goldens.text[0].length)
        throw new TorchclipError(
          "E_ARGUMENT",
          `${file} is of a model with another embedding dimension: ${goldens.model}`,
          { subject: file },
        );
      rows.push(row(precision, clip.info, reference, await embeddingsOf(clip, goldens)));
    } finally {
      await clip.close();
    }
  }
  return rows;
}

/** Embeddings of the images, then of the texts. */
async function embeddingsOf(clip: Clip, inputs: Pick<Goldens, "images" | "texts">): Promise<Float32Array> {
  const images = await clip.encodeImages(inputs.images.map((p) => Buffer.from(p, "base64")));
  const texts = await clip.encodeTexts(inputs.texts);
  return Float32Array.from([...images.data, ...texts.data]);
}

async function saveGoldens(name: string, file: string): Promise<void> {
  const inputs = await goldenInputs();
  const clip = await load(await resolveModel(name, {}), {
    device: "cpu",
    precision: "fp32",
    runner: "generic",
  });
  try {
    const embeddings = await embeddingsOf(clip, inputs);
    const dim = clip.info.embedDim;
    const rows = Array.from({ length: embeddings.length / dim }, (_, r) => [
      ...embeddings.subarray(r * dim, (r + 1) * dim),
    ]);
    const images = inputs.images.length;
    const libtorch = addon().libtorchInfo().version;
    const cpu = cpus()[0]?.model.trim() ?? process.arch;
    const by = `torchclip ${packageVersion()}, TorchScript in float32, libtorch ${libtorch}, ${cpu}`;
    await writeGoldens(file, {
      model: name,
      by,
      ...inputs,
      image: rows.slice(0, images),
      text: rows.slice(images),
    });
  } finally {
    await clip.close();
  }
  process.stdout.write(
    `${file}: ${name} for ${inputs.images.length} images and ${inputs.texts.length} texts\n`,
  );
}
