import { join } from "node:path";
import { settings } from "../settings.js";
import { packageVersion } from "./package.js";

/** A backend: the part of torchclip that uses libtorch, and the part that runs on a GPU and needs the former. */
export type BackendName = "torch" | "cuda";

export const BACKENDS: readonly BackendName[] = ["torch", "cuda"];

/** The folder of the cache for a backend of this version of torchclip, which `torchclip setup` fills. */
export function backendFolder(name: BackendName): string {
  return join(settings().cacheDir, "backends", `${name}-${packageVersion()}`);
}
