import { stat } from "node:fs/promises";
import type { Command } from "commander";
import { readArtifactConfig } from "../models/import.js";
import { describeModel } from "../models/config.js";
import { MODELS } from "../models/registry.js";
import { installedModel, installedModels, modelSettings, removeModel, resolveModel, verifyModel } from "../models/resolve.js";
import { interruptSignal, note, progressBar } from "./io.js";

interface CacheFlags {
  cacheDir?: string;
  offline?: boolean;
  mirror?: string;
}

export function modelsCommand(program: Command): void {
  const models = program.command("models").description("the models known by name; installs, checks and removes them");
  models
    .command("list", { isDefault: true })
    .description("all names (the default)")
    .option("--installed", "only those in the cache")
    .option("--json", "print JSON")
    .option("--cache-dir <folder>", "where models are kept")
    .action(list);
  const one = (name: string, description: string) =>
    models.command(`${name} <model...>`).description(description).option("--cache-dir <folder>", "where models are kept");
  one("pull", "downloads and imports; asks the hub for a newer revision where it is installed already")
    .option("--offline", "never use the network")
    .option("--mirror <url>", "base URL that is tried before the official one")
    .action(pull);
  one("path", "prints the artifact of an installed model").action(async (names: string[], flags: CacheFlags) => {
    for (const name of names) process.stdout.write(`${(await installedModel(name, modelSettings(flags))).artifact}\n`);
  });
  one("verify", "reads an installed model from end to end against its checksums").action(async (names: string[], flags: CacheFlags) => {
    const signal = interruptSignal();
    for (const name of names) for (const file of await verifyModel(name, modelSettings(flags), signal)) process.stdout.write(`${file}: sound\n`);
  });
  one("rm", "removes an installed model")
    .option("--weights", "also the downloaded files, in the cache that Python shares")
    .action(async (names: string[], flags: CacheFlags & { weights?: boolean }) => {
      for (const name of names) for (const file of await removeModel(name, modelSettings(flags), flags)) process.stdout.write(`removed ${file}\n`);
    });
}

async function list(flags: CacheFlags & { installed?: boolean; json?: boolean }): Promise<void> {
  const installed = await installedModels(modelSettings(flags));
  const known = new Set(MODELS.map((m) => m.name));
  const others = Object.keys(installed).filter((name) => !known.has(name)); // by hub id
  const rows = [
    ...MODELS.map(({ name, aliases, description, licence, published }) => ({ name, aliases, description, licence, published })),
    ...others.map((name) => ({ name, aliases: [], description: "from the hub", licence: "see its model card", published: undefined })),
  ]
    .map((row) => ({ ...row, artifact: installed[row.name]?.artifact }))
    .filter((row) => !flags.installed || row.artifact || row.name === "tiny");
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
    return;
  }
  const width = Math.max(...rows.map((r) => r.name.length));
  for (const r of rows) {
    const also = r.aliases.length ? ` (also ${r.aliases.join(", ")})` : "";
    process.stdout.write(`${r.artifact ? "*" : " "} ${r.name.padEnd(width)}  ${r.description}${also}; licence ${r.licence}\n`);
  }
  note(`\n* installed. Any other CLIP of the hub goes by its id (org/name), any file or folder by its path.`);
}

async function pull(names: string[], flags: CacheFlags): Promise<void> {
  const signal = interruptSignal();
  for (const name of names) {
    const bar = progressBar(name);
    const artifact = await resolveModel(name, {
      ...flags,
      refresh: true,
      signal,
      onProgress: ({ done, total }) => {
        bar.update(done, total);
        if (done === total) bar.stop();
      },
    });
    const { size } = await stat(artifact);
    process.stdout.write(`${name}: ${describeModel(await readArtifactConfig(artifact))}\n${artifact} (${(size / 1e6).toFixed(1)} MB)\n`);
  }
}
