import { existsSync } from "node:fs";
import { cpus } from "node:os";
import type { Command } from "commander";
import { addon, packageVersion } from "../addon.js";
import { versionOf } from "../eval/manifest.js";
import { settings } from "../settings.js";

export function doctorCommand(program: Command): void {
  program
    .command("doctor")
    .description("what was found on this machine, and what to do about what is missing")
    .option("--json", "print JSON")
    .action((flags: { json?: boolean }) => {
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
        cache: `${at.cacheDir}${existsSync(at.cacheDir) ? "" : " (not there yet)"}`,
        offline: at.offline,
      };
      const advice: string[] = [];
      if (/without CUDA/.test(system.cudaProblem))
        advice.push("For a GPU: TORCHCLIP_CUDA=1 npm run build (fetches a CUDA libtorch), or point TORCHCLIP_LIBTORCH at one and npm run build.");
      if (!system.cpuFeatures.includes("avx2") && process.arch === "x64") advice.push("This CPU has no AVX2; everything works, slowly.");
      if (flags.json) {
        process.stdout.write(`${JSON.stringify({ ...found, advice }, null, 2)}\n`);
        return;
      }
      for (const [name, value] of Object.entries(found)) process.stdout.write(`${name.padEnd(16)} ${Array.isArray(value) ? value.join(" ") : String(value)}\n`);
      for (const line of advice) process.stdout.write(`\n${line}\n`);
    });
}
