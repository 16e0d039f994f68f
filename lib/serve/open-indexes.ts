import { TorchclipError } from "../errors.js";
import { redactUrl } from "../redact.js";
import { openStored } from "../search/stored.js";
import { isObject } from "../util/untrusted.js";
import type { ServedModel } from "./model.js";
import type { ServedModels } from "./models.js";
import type { CheckedServerOptions, IndexFile, IndexServer } from "./options.js";
import { ServedIndex } from "./served-index.js";
import { FileShard } from "./shards/file-shard.js";
import { ServerShard } from "./shards/server-shard.js";
import type { Shard } from "./shards/shard.js";

/** A shard with the model that made it. */
interface OpenShard {
  shard: Shard;
  model: ServedModel;
}

/**
 * Opens the indexes and finds the model of each. E_ARGUMENT for an index whose model is not served, since its
 * vectors cannot be compared with those of another one, and for shards of several models; E_SHARD where the
 * server of a shard does not answer.
 */
export async function openIndexes(
  options: CheckedServerOptions,
  models: ServedModels,
): Promise<Map<string, ServedIndex>> {
  const served = new Map<string, ServedIndex>();
  const opened: Shard[] = [];
  try {
    for (const [name, given] of Object.entries(options.indexes)) {
      const shards = await openShards(name, given, options, models);
      const own = shards.map(({ shard }) => shard);
      opened.push(...own);
      served.set(name, new ServedIndex(name, onlyModel(name, shards), own, options.maxWaiting));
    }
    return served;
  } catch (error) {
    for (const shard of opened) shard.close();
    throw error;
  }
}

/** Opens the shards of one index, all at once, since each server may take its time; none stays open if one fails. */
async function openShards(
  name: string,
  given: unknown,
  options: CheckedServerOptions,
  models: ServedModels,
): Promise<OpenShard[]> {
  const opening = partsOf(name, given).map((part) =>
    "url" in part ? connect(name, part, options, models) : openFile(part, options, models),
  );
  const settled = await Promise.allSettled(opening);
  const failed = settled.find((each) => each.status === "rejected");
  const opened = settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  if (!failed) return opened;
  for (const { shard } of opened) shard.close();
  throw failed.reason;
}

/** The shards of an index as the options give them; in plain JavaScript they may be anything. */
function partsOf(name: string, given: unknown): (IndexFile | IndexServer)[] {
  const parts: unknown[] = Array.isArray(given) ? given : [given];
  if (parts.length === 0) throw argument("indexes", `the index ${name} has no shards`);
  for (const part of parts) {
    const { file, url } = isObject(part) ? part : {};
    if ((typeof file === "string") === (typeof url === "string"))
      throw argument("indexes", `a shard of the index ${name} must be an object with either file or url`);
  }
  return parts as (IndexFile | IndexServer)[];
}

function onlyModel(name: string, shards: readonly OpenShard[]): ServedModel {
  const [{ model, shard: first }] = shards;
  const other = shards.find((each) => each.model !== model);
  if (!other) return model;
  const both = `${first.where} is of ${model.name}, ${other.shard.where} of ${other.model.name}`;
  throw argument(name, `the shards of the index ${name} are of two models: ${both}`);
}

async function openFile(
  { file, images, device }: IndexFile,
  { autoRotate }: CheckedServerOptions,
  models: ServedModels,
): Promise<OpenShard> {
  const stored = await openStored(file, { device });
  const sha256 = stored.record.model?.sha256;
  const model = models.all.find(({ clip }) => clip.info.config.source.sha256 === sha256);
  if (model?.clip.info.embedDim === stored.index.dim)
    return { model, shard: new FileShard(stored, images, autoRotate) };
  stored.index.close();
  const made = stored.record.model?.name ?? "a model that it does not name";
  throw argument(file, `${file} was made with ${made}, ${NOT_SERVED}`);
}

async function connect(
  name: string,
  { url, index = name, apiKey }: IndexServer,
  { shardTimeout: timeout }: CheckedServerOptions,
  models: ServedModels,
): Promise<OpenShard> {
  checkServer(url, apiKey);
  const shard = await ServerShard.connect({ url, index, apiKey, timeout });
  const model = models.all.find(({ fingerprint }) => fingerprint === shard.fingerprint);
  if (model) return { model, shard };
  const made = `a model with the fingerprint ${shard.fingerprint}`;
  throw argument(shard.where, `${shard.where} was made with ${made}, ${NOT_SERVED}`);
}

const NOT_SERVED = "which is not among the models of the server";

function checkServer(url: string, apiKey: string | undefined): void {
  const shownUrl = redactUrl(url);
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || !/^https?:$/.test(parsed.protocol))
    throw argument("indexes", `${shownUrl} is not an http(s) URL of a server`);
  if (parsed.username || parsed.password)
    throw argument("indexes", `${shownUrl}: a key is given as apiKey, not in the URL`);
  if (parsed.search || parsed.hash)
    throw argument(
      "indexes",
      `${shownUrl} must be the address alone; the name of the index is given as index`,
    );
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey))
    throw argument("apiKey", `the key for ${shownUrl} must be visible ASCII characters without white space`);
}

function argument(subject: string, message: string): TorchclipError {
  return new TorchclipError("E_ARGUMENT", message, { subject });
}
