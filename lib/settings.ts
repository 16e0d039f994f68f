import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { env, platform } from "node:process";
import { TorchclipError } from "./errors.js";

/**
 * The environment variables that torchclip reads, all of them, here alone. Each has a paragraph in docs/settings.md.
 */
export interface Settings {
  /** Where models and generated data sets are kept. */
  cacheDir: string;
  /** Never use the network. */
  offline: boolean;
  /** Base URL that is tried before the hub's own. */
  hubMirror: string | undefined;
  /** HF_ENDPOINT: base URL used in place of https://huggingface.co. */
  hubEndpoint: string | undefined;
  /** Cache of the hub's files, shared with Python's huggingface_hub. */
  hubCache: string;
  /** HF_TOKEN, or the file that Python's login wrote. */
  hubToken: string | undefined;
  /** Base URL used in place of OpenAI's file server. */
  openaiMirror: string | undefined;
  /** An addon that is loaded in place of the one that was built or came with the package. */
  addonFile: string | undefined;
}

export function settings(overrides: { cacheDir?: string; offline?: boolean } = {}): Settings {
  return {
    cacheDir: resolve(overrides.cacheDir ?? env.TORCHCLIP_CACHE ?? join(systemCache(), "torchclip")),
    offline: overrides.offline ?? (isSet(env.TORCHCLIP_OFFLINE) || isSet(env.HF_HUB_OFFLINE)),
    hubMirror: env.TORCHCLIP_HUB_MIRROR || undefined,
    openaiMirror: env.TORCHCLIP_OPENAI_MIRROR || undefined,
    addonFile: env.TORCHCLIP_ADDON || undefined,
    hubEndpoint: env.HF_ENDPOINT || undefined,
    hubCache: resolve(overrides.cacheDir ? join(overrides.cacheDir, "hub") : (env.HF_HUB_CACHE ?? join(hubHome(), "hub"))),
    hubToken: env.HF_TOKEN || savedToken(),
  };
}

/** TORCHCLIP_DECODE_PIXELS: pixels that are decoded at once in a thread of Node; undefined where it is not set. */
export function decodeBudgetSetting(): number | undefined {
  const text = env.TORCHCLIP_DECODE_PIXELS;
  if (!text) return undefined;
  const pixels = Number(text);
  if (Number.isInteger(pixels) && pixels >= 1) return pixels;
  throw new TorchclipError("E_ARGUMENT", `TORCHCLIP_DECODE_PIXELS must be a whole number of at least 1, not ${text}`, { subject: "TORCHCLIP_DECODE_PIXELS" });
}

const isSet = (value: string | undefined): boolean => /^(1|true|yes|on)$/i.test(value ?? "");

/** As Python's huggingface_hub finds it, on every system. */
function hubHome(): string {
  return env.HF_HOME ?? join(env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "huggingface");
}

function savedToken(): string | undefined {
  try {
    return readFileSync(env.HF_TOKEN_PATH ?? join(hubHome(), "token"), "utf8").trim() || undefined;
  } catch {
    return undefined;
  }
}

function systemCache(): string {
  if (env.XDG_CACHE_HOME) return env.XDG_CACHE_HOME;
  if (platform === "darwin") return join(homedir(), "Library", "Caches");
  if (platform === "win32") return env.LOCALAPPDATA ?? join(homedir(), "AppData", "Local");
  return join(homedir(), ".cache");
}
