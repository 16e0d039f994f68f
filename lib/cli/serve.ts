import { basename } from "node:path";
import type { Clip } from "../clip/clip.js";
import { TorchclipError } from "../errors.js";
import { isRemote, redactUrl } from "../redact.js";
import type { IndexFile, IndexServer, ServerOptions } from "../serve/options.js";
import { createServer, type ClipServer } from "../serve/server.js";
import { loadServerPackages } from "../serve/packages.js";
import { apiKeysSetting, shardApiKeySetting } from "../settings.js";
import { interruptSignal, remark } from "./io.js";
import { loadForImages } from "./load-for-images.js";
import { loadOptions, TINY_NOTE, type ImageFlags, type ModelFlags } from "./options.js";

interface Flags extends Omit<ModelFlags, "model">, ImageFlags {
  model?: string[];
  host: string;
  port: number;
  apiKey?: string[];
  index?: string[];
  indexImages?: string[];
  indexDevice: string;
  probe?: string[];
  maxBatch: number;
  maxDelay: number;
  maxWaiting: number;
  bodyLimit: number;
  allowUrls?: boolean;
  autoRotate?: boolean;
  shardTimeout: number;
  drain: number;
  logLevel: string;
}

/** What `torchclip serve` does. */
export async function run(flags: Flags): Promise<void> {
  const apiKeys = flags.apiKey ?? apiKeysSetting();
  const indexes = indexesOf(flags);
  const probes = Object.fromEntries((flags.probe ?? []).map(named));
  await loadServerPackages(); // before the models: what is missing is said at once
  const models = await loadModels(flags);
  const close = () => Promise.all(Object.values(models).map((clip) => clip.close()));
  try {
    const server = await createServer({ models, indexes, probes, apiKeys, ...settingsOf(flags) });
    const ended = endBySignal(server);
    const address = await server.listen(flags);
    process.stdout.write(`torchclip serves ${Object.keys(models).join(", ")} at ${address}\n`);
    if (apiKeys.length === 0 && !isLoopback(flags.host))
      remark("no API key is set: everyone who reaches this address can use the server.");
    process.exitCode = (await ended) ? 0 : 1;
  } finally {
    await close();
  }
}

function settingsOf(flags: Flags): Omit<ServerOptions, "models"> {
  const { maxBatch, maxDelay, maxWaiting, maxPixels, allowUrls, allowPrivate, autoRotate } = flags;
  return {
    maxBatch,
    maxDelay,
    maxWaiting,
    maxPixels,
    allowUrls,
    allowPrivate,
    autoRotate,
    bodyLimit: flags.bodyLimit * (1 << 20),
    shardTimeout: Math.round(flags.shardTimeout * 1000),
    drainTimeout: flags.drain * 1000,
    logger: { level: flags.logLevel, stream: process.stderr },
  };
}

/** Loads the models one after another: they share the memory's bandwidth. Closes them where one fails. */
async function loadModels(flags: Flags): Promise<Record<string, Clip>> {
  const signal = interruptSignal();
  if (!flags.model) remark(TINY_NOTE);
  const models: Record<string, Clip> = {};
  try {
    for (const given of flags.model ?? ["tiny"]) {
      const [name, model] = nameAndValue(given, given);
      if (name in models) throw argument("model", `two models are called ${name}; NAME=MODEL names one`);
      models[name] = await loadForImages(model, loadOptions({ ...flags, model }, signal));
    }
    return models;
  } catch (error) {
    await Promise.all(Object.values(models).map((clip) => clip.close()));
    throw error;
  }
}

/** Resolves when a signal has ended the server: whether all requests were answered. A second ends at once. */
function endBySignal(server: ClipServer): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let ends = false;
    const end = () => {
      if (ends) process.exit(1);
      ends = true;
      server.close().then(resolve, reject);
    };
    process.on("SIGTERM", end);
    process.on("SIGINT", end);
  });
}

/** The indexes by name; those of one name are the shards of one index, in their order. */
function indexesOf({ index = [], indexImages = [], indexDevice: device }: Flags): ServerOptions["indexes"] {
  const images = [...indexImages];
  const indexes = new Map<string, (IndexFile | IndexServer)[]>();
  for (const given of index) {
    const { name, value, isWritten } = namedIndex(given);
    const shards = indexes.get(name) ?? [];
    if (shards.length > 0 && !isWritten)
      throw argument(
        "index",
        `two indexes are called ${name}; NAME=FILE names one, or both as shards of one`,
      );
    shards.push(isRemote(value) ? serverOf(value) : { file: value, images: images.shift(), device });
    indexes.set(name, shards);
  }
  if (images.length === 0) return Object.fromEntries(indexes);
  throw argument("indexImages", `--index-images ${images[0]} has no --index of a file to belong to`);
}

/** NAME=FILE or NAME=URL; a FILE alone is called by its name, and a URL alone by what follows its #. */
function namedIndex(given: string): { name: string; value: string; isWritten: boolean } {
  if (!isRemote(given)) {
    const [name, value] = named(given);
    return { name, value, isWritten: value !== given };
  }
  const { index } = serverOf(given);
  if (index !== undefined) return { name: index, value: given, isWritten: false };
  throw argument("index", `--index ${redactUrl(given)} needs a name: NAME=URL, or URL#NAME`);
}

/** URL#NAME: the index NAME of the server. */
function serverOf(given: string): IndexServer {
  const at = given.indexOf("#");
  const [url, index] = at < 0 ? [given, ""] : [given.slice(0, at), given.slice(at + 1)];
  return { url, index: index === "" ? undefined : index, apiKey: shardApiKeySetting() };
}

/** NAME=FILE, or FILE, which is called by its name without folder and ending. */
function named(given: string): [name: string, file: string] {
  return nameAndValue(given, basename(given).replace(/\.[^.]+$/, ""));
}

/** The parts of NAME=VALUE; of a VALUE alone with the name that it has then. "./a=b.pt" is a path. */
function nameAndValue(given: string, name: string): [name: string, value: string] {
  const match = /^([^=./\\~][^=]*)=(.+)$/.exec(given);
  return match ? [match[1], match[2]] : [name, given];
}

const isLoopback = (host: string): boolean => /^(127\.|::1$|localhost$)/.test(host);

function argument(subject: string, message: string): TorchclipError {
  return new TorchclipError("E_ARGUMENT", message, { subject });
}
