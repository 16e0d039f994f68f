import { constants } from "node:fs";
import { copyFile, stat } from "node:fs/promises";
import type { ModelConfig } from "../models/config-types.js";
import { describeModel, readArtifactConfig } from "../models/config.js";
import { importModel, type ImportOptions } from "../models/import/import.js";
import { findSource } from "../models/import/source.js";
import { resolveModel } from "../models/store/resolve.js";
import { writeNamedWhole } from "../util/files.js";
import { interruptSignal } from "./io.js";

interface Flags extends Omit<ImportOptions, "signal"> {
  out: string;
}

/** What `torchclip import` does. */
export async function run(path: string, { out, ...flags }: Flags): Promise<void> {
  const options = { ...flags, signal: interruptSignal() };
  const isHere = await stat(path).then(
    () => true,
    () => false,
  );
  const config = isHere
    ? await importModel(await findSource(path), out, options)
    : await importNamed(path, out, options);
  process.stdout.write(`${out}: ${describeModel(config)}\n`);
}

/** A name or hub id is imported into the cache, as load does, and copied from there. */
async function importNamed(name: string, out: string, options: ImportOptions): Promise<ModelConfig> {
  const artifact = await resolveModel(name, options);
  await writeNamedWhole(out, (temporary) => copyFile(artifact, temporary, constants.COPYFILE_FICLONE));
  return readArtifactConfig(out);
}
