import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { env, platform } from "node:process";

/**
 * The environment variables that torchclip reads, all of them, here alone. Each has a paragraph in docs/settings.md.
 */
export interface Settings {
  /** Where models and generated data sets are kept. */
  cacheDir: string;
  /** Never use the network. */
  offline: boolean;
  /** Base URL used in place of https://huggingface.co. */
  hubMirror: string | undefined;
  /** Base URL used in place of OpenAI's file server. */
  openaiMirror: string | undefined;
}

export function settings(overrides: { cacheDir?: string; offline?: boolean } = {}): Settings {
  return {
    cacheDir: resolve(overrides.cacheDir ?? env.TORCHCLIP_CACHE ?? join(systemCache(), "torchclip")),
    offline: overrides.offline ?? /^(1|true|yes)$/i.test(env.TORCHCLIP_OFFLINE ?? ""),
    hubMirror: env.TORCHCLIP_HUB_MIRROR || undefined,
    openaiMirror: env.TORCHCLIP_OPENAI_MIRROR || undefined,
  };
}

function systemCache(): string {
  if (env.XDG_CACHE_HOME) return env.XDG_CACHE_HOME;
  if (platform === "darwin") return join(homedir(), "Library", "Caches");
  if (platform === "win32") return env.LOCALAPPDATA ?? join(homedir(), "AppData", "Local");
  return join(homedir(), ".cache");
}
