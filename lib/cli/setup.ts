import { addonPlaces, loadAddon } from "../addon.js";
import { TorchclipError } from "../errors.js";
import { setupBackend } from "../setup/backends.js";
import { installedParts, type InstalledPart } from "../setup/installed.js";
import type { BackendName } from "../util/backend-folders.js";
import { interruptSignal, note, progressBar } from "./io.js";

interface Flags {
  list?: boolean;
  json?: boolean;
}

/** What `torchclip setup` does. */
export async function run(backend: BackendName | undefined, flags: Flags): Promise<void> {
  if (backend && flags.list)
    throw new TorchclipError("E_ARGUMENT", "name a backend, or give --list; not both");
  if (!backend) return list(flags.json ?? false);
  const bar = progressBar(backend);
  const onProgress = bar.update.bind(bar);
  const signal = interruptSignal();
  const paths = await setupBackend(backend, { note, onProgress, signal }).finally(() => bar.stop());
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(paths, null, 2)}\n`);
    return;
  }
  process.stdout.write(`libtorch  ${paths.libtorch}\nbackend   ${paths.library}\n`);
}

async function list(json: boolean): Promise<void> {
  const parts = await installedParts(addonFile());
  if (json) {
    process.stdout.write(`${JSON.stringify(parts, null, 2)}\n`);
    return;
  }
  if (parts.length === 0) process.stdout.write("Nothing is installed.\n");
  const width = Math.max(0, ...parts.map(({ name }) => name.length));
  for (const part of parts) process.stdout.write(`${line(part, width)}\n`);
}

function line({ name, bytes, path }: InstalledPart, width: number): string {
  return `${name.padEnd(width)}  ${(bytes / 1e6).toFixed(1).padStart(8)} MB  ${path}`;
}

/** The addon that is used; undefined where none loads, of which `doctor` says why. */
function addonFile(): string | undefined {
  try {
    return loadAddon(addonPlaces()).file;
  } catch {
    return undefined;
  }
}
