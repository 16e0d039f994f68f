import { stat } from "node:fs/promises";
import { describeModel, readArtifactConfig } from "../models/config.js";
import { installedModel, removeModel, verifyModel } from "../models/store/installed.js";
import { modelSettings, resolveModel } from "../models/store/resolve.js";
import { interruptSignal } from "./io.js";
import { shownDownload, type DownloadFlags } from "./options.js";

/** What `torchclip models pull` does. */
export async function pull(names: string[], flags: DownloadFlags): Promise<void> {
  const signal = interruptSignal();
  for (const name of names) {
    const options = { ...flags, ...shownDownload(name), refresh: true, signal };
    const artifact = await resolveModel(name, options);
    const { size } = await stat(artifact);
    const model = describeModel(await readArtifactConfig(artifact));
    process.stdout.write(`${name}: ${model}\n${artifact} (${(size / 1e6).toFixed(1)} MB)\n`);
  }
}

/** What `torchclip models path` does. */
export async function path(names: string[], flags: DownloadFlags): Promise<void> {
  for (const name of names) {
    const { artifact } = await installedModel(name, modelSettings(flags));
    process.stdout.write(`${artifact}\n`);
  }
}

/** What `torchclip models verify` does. */
export async function verify(names: string[], flags: DownloadFlags): Promise<void> {
  const signal = interruptSignal();
  for (const name of names) {
    const files = await verifyModel(name, modelSettings(flags), signal);
    for (const file of files) process.stdout.write(`${file}: sound\n`);
  }
}

/** What `torchclip models rm` does. */
export async function remove(names: string[], flags: DownloadFlags & { weights?: boolean }): Promise<void> {
  for (const name of names) {
    const files = await removeModel(name, modelSettings(flags), flags);
    for (const file of files) process.stdout.write(`removed ${file}\n`);
  }
}
