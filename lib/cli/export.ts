import { exportTriton, type TritonOptions } from "../models/export/triton.js";
import { resolveModel } from "../models/store/resolve.js";
import { interruptSignal } from "./io.js";
import { shownDownload, type DownloadFlags } from "./options.js";

interface Flags extends TritonOptions, DownloadFlags {
  model: string;
}

/** What `torchclip export triton` does. */
export async function triton(folder: string, flags: Flags): Promise<void> {
  const { model, cacheDir, offline, mirror, mirrorFallback, ...options } = flags;
  const places = { cacheDir, offline, mirror, mirrorFallback };
  const signal = interruptSignal();
  const artifact = await resolveModel(model, { ...places, ...shownDownload("download"), signal });
  for (const { name, input, output } of await exportTriton(artifact, folder, options)) {
    const [from, to] = [input, output].map(({ type, dims }) => `${type} [ ${dims.join(", ")} ]`);
    process.stdout.write(`${name}: ${from} → ${to}\n`);
  }
  process.stdout.write(`Saved: ${folder}\n`);
}
