import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { env, platform } from "node:process";
import { TorchclipError } from "./errors.js";

/**
 * The environment variables that torchclip reads, all of them, here alone. Each has a paragraph in
 * docs/settings.md.
 */
export interface Settings {
  /** Where models and generated data sets are kept. */
  cacheDir: string;
  /** Never use the network. */
  offline: boolean;
  /** Base URL that is asked in place of the hub's. */
  hubMirror: string | undefined;
  /** HF_ENDPOINT: base URL used in place of https://huggingface.co. */
  hubEndpoint: string | undefined;
  /** Cache of the hub's files, shared with Python's huggingface_hub. */
  hubCache: string;
  /** Base URL that is asked in place of OpenAI's file server. */
  openaiMirror: string | undefined;
  /** Base URL that is asked in place of the other servers that hold data sets known by name. */
  datasetMirror: string | undefined;
  /** Whether the original address is asked too where its mirror fails. */
  mirrorFallback: boolean;
  /** An addon that is loaded in place of the one that was built or came with the package. */
  addonFile: string | undefined;
}

/** What the options of a call say instead of the environment. */
export interface SettingsOverrides {
  cacheDir?: string;
  offline?: boolean;
  /** In place of all three mirrors. */
  mirror?: string;
  mirrorFallback?: boolean;
}

export function settings(overrides: SettingsOverrides = {}): Settings {
  const mirror = filled(overrides.mirror);
  return {
    cacheDir: resolve(overrides.cacheDir ?? env.TORCHCLIP_CACHE ?? join(systemCache(), "torchclip")),
    offline: overrides.offline ?? (isSet(env.TORCHCLIP_OFFLINE) || isSet(env.HF_HUB_OFFLINE)),
    hubMirror: mirror ?? filled(env.TORCHCLIP_HUB_MIRROR),
    openaiMirror: mirror ?? filled(env.TORCHCLIP_OPENAI_MIRROR),
    datasetMirror: mirror ?? filled(env.TORCHCLIP_DATASET_MIRROR),
    mirrorFallback: overrides.mirrorFallback ?? isSet(env.TORCHCLIP_MIRROR_FALLBACK),
    addonFile: filled(env.TORCHCLIP_ADDON),
    hubEndpoint: filled(env.HF_ENDPOINT),
    hubCache: resolve(
      overrides.cacheDir ? join(overrides.cacheDir, "hub") : (env.HF_HUB_CACHE ?? join(hubHome(), "hub")),
    ),
  };
}

/** The user's token for the hub: HF_TOKEN, or the file that Python's login wrote. */
export function hubToken(): string | undefined {
  return filled(env.HF_TOKEN) ?? savedToken();
}

/** QDRANT_API_KEY: the key that a Qdrant server asks for; undefined where it is not set. */
export function qdrantApiKey(): string | undefined {
  return filled(env.QDRANT_API_KEY);
}

/** The hub's own address, unless HF_ENDPOINT names another one. */
export const HUB = "https://huggingface.co";

/** OpenAI's file server. */
export const OPENAI = "https://openaipublic.azureedge.net";

/** An address that is asked for a file. */
export interface Address {
  url: string;
  /** "download": the original address. "mirror": the mirror in its place. */
  kind: "download" | "mirror";
}

/**
 * The addresses that are asked for the file of a URL, in their order. Without a mirror for its server that is
 * the URL. A mirror serves the URL's path below its base URL and is the only address, unless `mirrorFallback`
 * is set.
 */
export function addressesOf(url: string, at: Settings): Address[] {
  const { origin, pathname } = new URL(url);
  const isHub = origin === HUB;
  const original = isHub ? `${baseUrl(at.hubEndpoint ?? HUB)}${pathname}` : url;
  return withMirror(mirrorOf(origin, at), pathname, original, at);
}

function mirrorOf(origin: string, at: Settings): string | undefined {
  if (origin === HUB) return at.hubMirror;
  return origin === OPENAI ? at.openaiMirror : at.datasetMirror;
}

/**
 * The servers that are asked for files of the hub, as base URLs, in their order; as `addressesOf` orders
 * addresses.
 */
export function hubServers(at: Settings): Address[] {
  return withMirror(at.hubMirror, "", baseUrl(at.hubEndpoint ?? HUB), at);
}

function withMirror(mirror: string | undefined, path: string, original: string, at: Settings): Address[] {
  const originals: Address[] = [{ url: original, kind: "download" }];
  if (!mirror) return originals;
  return [{ url: `${baseUrl(mirror)}${path}`, kind: "mirror" }, ...(at.mirrorFallback ? originals : [])];
}

const baseUrl = (url: string): string => url.replace(/\/+$/, "");

/**
 * TORCHCLIP_DECODE_PIXELS: pixels that are decoded at once in a thread of Node; undefined where it is not
 * set.
 */
export function decodeBudgetSetting(): number | undefined {
  const text = env.TORCHCLIP_DECODE_PIXELS;
  if (!text) return undefined;
  const pixels = Number(text);
  if (Number.isInteger(pixels) && pixels >= 1) return pixels;
  throw new TorchclipError(
    "E_ARGUMENT",
    `TORCHCLIP_DECODE_PIXELS must be a whole number of at least 1, not ${text}`,
    { subject: "TORCHCLIP_DECODE_PIXELS" },
  );
}

/** TORCHCLIP_API_KEYS: keys that `torchclip serve` accepts, separated by commas; empty: none is needed. */
export function apiKeysSetting(): string[] {
  return (env.TORCHCLIP_API_KEYS ?? "")
    .split(",")
    .map((key) => key.trim())
    .filter(Boolean);
}

/** TORCHCLIP_SHARD_API_KEY: the key that `torchclip serve` sends to the servers of its shards. */
export function shardApiKeySetting(): string | undefined {
  return filled(env.TORCHCLIP_SHARD_API_KEY);
}

/** TORCHCLIP_ISA: the instruction set that the kernels may use at most; undefined where it is not set. */
export function isaSetting(): string | undefined {
  return env.TORCHCLIP_ISA;
}

/** What the build of the addon takes from the environment. */
export interface BuildSettings {
  /** TORCHCLIP_LIBTORCH: the folder of the libtorch to link, in place of one that is found. */
  libtorch: string | undefined;
  /** TORCHCLIP_CUDA: "1", "0", or the CUDA of an official archive ("cu130"); "" where it is not set. */
  cuda: string;
  /** PYTHON: the interpreter whose torch or pip is used. Default "python3". */
  python: string;
  /** CXX: the C++ compiler. */
  compiler: string | undefined;
}

export function buildSettings(): BuildSettings {
  return {
    libtorch: filled(env.TORCHCLIP_LIBTORCH),
    cuda: env.TORCHCLIP_CUDA ?? "",
    python: filled(env.PYTHON) ?? "python3",
    compiler: filled(env.CXX),
  };
}

/** npm_config_registry, which npm and npx set: the registry that backends come from. */
export function registryUrl(): string {
  return baseUrl(filled(env.npm_config_registry) ?? "https://registry.npmjs.org");
}

/** The environment of a child process: that of this one, with `changed` in it. */
export function childEnvironment(changed: Record<string, string>): NodeJS.ProcessEnv {
  return { ...env, ...changed };
}

/** A variable, or an option, of no characters counts as one that is not set. */
const filled = (value: string | undefined): string | undefined => (value === "" ? undefined : value);

const isSet = (value: string | undefined): boolean => /^(1|true|yes|on)$/i.test(value ?? "");

/** As Python's huggingface_hub finds it, on every system. */
function hubHome(): string {
  return env.HF_HOME ?? join(env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "huggingface");
}

function savedToken(): string | undefined {
  try {
    return filled(readFileSync(env.HF_TOKEN_PATH ?? join(hubHome(), "token"), "utf8").trim());
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
