import { TorchclipError } from "../errors.js";
import { redactUrl } from "../redact.js";
import { openStored } from "../search/stored.js";
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
      const parts = Array.isArray(given) ? (given as (IndexFile | IndexServer)[]) : [given as IndexFile];
      if (parts.length === 0) throw argument(name, `the index ${name} has no shards`);
      const shards: OpenShard[] = [];
      for (const part of parts) {
        const open = "url" in part ? connect(name, part, options, models) : openFile(part, options, models);
        shards.push(await open);
        opened.push(shards[shards.length - 1].shard);
      }
      served.set(name, new ServedIndex(name, onlyModel(name, shards), opened.slice(-shards.length)));
    }
    return served;
  } catch (error) {
    for (const shard of opened) shard.close();
    throw error;
  }
}

function onlyModel(name: string, shards: readonly OpenShard[]): ServedModel {
  const [{ model, shard: first }] = shards;
  const other = shards.find((each) => each.model !== model);
  if (!other) return model;
  const both = `${first.where} is of ${model.name}, ${other.shard.where} of ${other.model.name}`;
  throw argument(name, `the shards of the index ${name} are of two models: ${both}`);
}

async function openFile(
  { file, images }: IndexFile,
  { autoRotate }: CheckedServerOptions,
  models: ServedModels,
): Promise<OpenShard> {
  const stored = await openStored(file);
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
  checkUrl(url);
  const shard = await ServerShard.connect({ url, index, apiKey, timeout });
  const model = models.all.find(({ fingerprint }) => fingerprint === shard.fingerprint);
  if (model) return { model, shard };
  const made = `a model with the fingerprint ${shard.fingerprint}`;
  throw argument(shard.where, `${shard.where} was made with ${made}, ${NOT_SERVED}`);
}

const NOT_SERVED = "which is not among the models of the server";

function checkUrl(url: string): void {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || !/^https?:$/.test(parsed.protocol))
    throw argument("indexes", `${redactUrl(url)} is not an http(s) URL of a server`);
  if (parsed.username || parsed.password)
    throw argument("indexes", `${redactUrl(url)}: a key is given as apiKey, not in the URL`);
}

function argument(subject: string, message: string): TorchclipError {
  return new TorchclipError("E_ARGUMENT", message, { subject });
}
