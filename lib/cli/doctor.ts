import { existsSync } from "node:fs";
import { cpus } from "node:os";
import { Option, type Command } from "commander";
import { addon, packageVersion } from "../addon.js";
import { versionOf } from "../eval/manifest.js";
import type { Device } from "../clip.js";
import { check, leastCosine } from "../models/precision.js";
import { resolveModel } from "../models/resolve.js";
import { TorchclipError } from "../errors.js";
import { settings } from "../settings.js";

export function doctorCommand(program: Command): void {
  program
    .command("doctor")
    .description("what was found on this machine, and what to do about what is missing")
    .option("-m, --model <name|path>", "check a model here: every precision against TorchScript in fp32 on the CPU")
    .addOption(new Option("-d, --device <device>", "with --model: the device to check").default("auto"))
    .option("--json", "print JSON")
    .action(async (flags: { json?: boolean; model?: string; device: Device }) => {
      if (flags.model) return checkModel(flags.model, flags.device, flags.json ?? false);
      const at = settings();
      const system = addon().systemInfo();
      const found = {
        torchclip: packageVersion(),
        node: process.version,
        sharp: versionOf("sharp"),
        libtorch: system.libtorch,
        cpu: `${cpus()[0]?.model.trim() ?? "unknown"}, ${cpus().length} cores`,
        cpuFeatures: system.cpuFeatures,
        libtorchKernels: system.cpuCapability,
        cuda: system.cudaProblem || `${system.cudaDevices} device(s)`,
        ...(system.cudaProblem ? {} : { cudaKernels: system.fastCudaProblem || "torchclip's own" }),
        cache: `${at.cacheDir}${existsSync(at.cacheDir) ? "" : " (not there yet)"}`,
        offline: at.offline,
      };
      const advice: string[] = [];
      if (/without CUDA/.test(system.cudaProblem))
        advice.push("For a GPU: TORCHCLIP_CUDA=1 npm run build (fetches a CUDA libtorch), or point TORCHCLIP_LIBTORCH at one and npm run build.");
      if (!system.cudaProblem && system.fastCudaProblem) advice.push(`The GPU runs models by TorchScript: ${system.fastCudaProblem}.`);
      if (!system.cpuFeatures.includes("avx2") && process.arch === "x64") advice.push("This CPU has no AVX2; everything works, slowly.");
      if (flags.json) {
        process.stdout.write(`${JSON.stringify({ ...found, advice }, null, 2)}\n`);
        return;
      }
      for (const [name, value] of Object.entries(found)) process.stdout.write(`${name.padEnd(16)} ${Array.isArray(value) ? value.join(" ") : String(value)}\n`);
      for (const line of advice) process.stdout.write(`\n${line}\n`);
    });
}

/** Largest differences that are accepted, as in the tests (docs/precision.md). */
const ACCEPTED = { fp32: 1e-5, bf16: 0.9995, fp16: 0.9995, int8: 0.999 } as const;

/**
 * The model's own arithmetic on this machine: the runner that would be used, in each precision, against the artifact's
 * TorchScript in fp32 on the CPU. Fails where one is worse than the project accepts.
 */
async function checkModel(name: string, device: Device, json: boolean): Promise<void> {
  const path = await resolveModel(name, {});
  const run = async (on: Device, precision: string, generic: boolean) => {
    const engine = new (addon().Engine)();
    try {
      const info = await engine.load(path, on, precision, 0, generic, false);
      return { info, embeddings: (await check(engine, info)).embeddings };
    } finally {
      await engine.close();
    }
  };
  const reference = await run("cpu", "fp32", true);
  const rows = [];
  for (const precision of ["fp32", "bf16", "fp16", "int8"] as const) {
    const { info, embeddings } = await run(device, precision, false);
    const difference = embeddings.reduce((most, x, i) => Math.max(most, Math.abs(x - reference.embeddings[i])), 0);
    const cosine = leastCosine(reference.embeddings, embeddings, info.embedDim);
    const ok = precision === "fp32" ? difference <= ACCEPTED.fp32 : cosine >= ACCEPTED[precision];
    rows.push({ precision, device: info.device, image: info.imageRunner, text: info.textRunner, difference, cosine, ok });
  }
  if (json) process.stdout.write(`${JSON.stringify({ model: name, path, rows }, null, 2)}\n`);
  else {
    process.stdout.write(`${path}\n`);
    for (const r of rows)
      process.stdout.write(
        `${r.ok ? "ok  " : "BAD "} ${r.precision.padEnd(4)} on ${r.device}: largest difference ${r.difference.toExponential(2)}, least cosine ${r.cosine.toFixed(6)}  (image: ${r.image}; text: ${r.text})\n`,
      );
  }
  if (rows.some((r) => !r.ok))
    throw new TorchclipError("E_INTERNAL", `${name} is not computed as accurately here as it should be; see above`, { subject: name });
}
