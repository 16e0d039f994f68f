import type { Clip } from "../clip/clip.js";
import { TorchclipError } from "../errors.js";
import { LIMIT_CHECKS } from "../images/limits.js";
import type { ImageLimits } from "../images/types.js";
import type { ProbeClassifier } from "../learn/probe-classifier.js";
import { BATCH_SIZE, isBoolean, readOptions, wholeIn, type OptionCheck } from "../options.js";
import type { ServedModel } from "./model.js";

/** An index that `/v1/search` searches, or a shard of one: a file of this machine. */
export interface IndexFile {
  /** A .npy (with its .npy.json) or a .parquet of `torchclip embed`, or the manifest.json of its queue. */
  file: string;
  /**
   * The folder of the index's images, from which thumbnails are shown. Default: none are. Only images that
   * the index names are given out, and none outside the folder.
   */
  images?: string;
  /**
   * Where the index is searched: "cpu" (default), or "cuda", "cuda:N", which hold a copy of its rows: see
   * `IndexOptions.device`. E_CUDA_UNAVAILABLE or E_OUT_OF_MEMORY where that GPU cannot hold them.
   */
  device?: string;
}

/** An index, or a shard of one, that another torchclip server searches with the same model. */
export interface IndexServer {
  /** Address of the server: "http://10.0.0.2:8000". */
  url: string;
  /** The name of the index there. Default: the one that it has here. */
  index?: string;
  /** A key that the server accepts. */
  apiKey?: string;
}

/**
 * Limits of images, without where they come from, which `allowUrls` says. `maxBytes` is `bodyLimit` by
 * default, and `formats` all but SVG, whose decoder cannot be stopped at a limit of time.
 */
type Limits = Omit<ImageLimits, "sources">;

export interface ServerOptions extends Limits {
  /**
   * Loaded models by the names that requests give. At least one; the first answers requests that name none.
   * They stay open when the server closes.
   */
  models: Readonly<Record<string, Clip>>;
  /**
   * Indexes by name. Each belongs to the model whose weights made it, which must be among `models`. A list is
   * one index of several shards, whose rows are numbered one after another; a search gives the rows that it
   * would give if all were in one file.
   */
  indexes?: Readonly<Record<string, IndexFile | IndexServer | readonly (IndexFile | IndexServer)[]>>;
  /** Milliseconds that another server has for the answer of a shard, 1 to 300,000. Default 10,000. */
  shardTimeout?: number;
  /** Probes by name: files that `torchclip teach` or `torchclip probe` wrote. */
  probes?: Readonly<Record<string, string>>;
  /** Requests must bring one of these keys as `Authorization: Bearer KEY`. Default: no key is needed. */
  apiKeys?: readonly string[];
  /** Bytes of a body; more is 413. Default 33,554,432 (32 MiB). */
  bodyLimit?: number;
  /**
   * Bytes of all bodies that are received or in work at once; more is 503. Default: 16 times `bodyLimit`, at
   * least 512 MiB.
   */
  bodyBudget?: number;
  /** The most images or texts in one batch. Default 32. */
  maxBatch?: number;
  /** Milliseconds that the first of a batch waits for others. Default 5. */
  maxDelay?: number;
  /**
   * Images and texts of a model, and searches of an index, that may wait or be in work; more are refused with
   * 429. Default 1,024.
   */
  maxWaiting?: number;
  /**
   * Whether images may be given as http(s) URLs, which the server fetches. Default false. Addresses that are
   * not public are refused, also after a redirect, unless `allowPrivate` is set.
   */
  allowUrls?: boolean;
  /** Whether those URLs may lead to addresses that are not public: images of one's own network. Default false. */
  allowPrivate?: boolean;
  /** Turn images as their EXIF orientation says. Default false. */
  autoRotate?: boolean;
  /** Milliseconds in which a request must have arrived whole; later ones are 408. Default 60,000. */
  requestTimeout?: number;
  /** Milliseconds that `close` waits for requests that are in work; then they are ended. Default 10,000. */
  drainTimeout?: number;
  /**
   * What the log is: true for pino on standard error, an object for pino's options. Default false. Requests
   * are logged without bodies, headers and addresses' queries.
   */
  logger?: boolean | object;
}

/** Options with their defaults. */
export type CheckedServerOptions = Required<Omit<ServerOptions, keyof Limits>> & Limits;

/** A probe that was read. */
export interface ServedProbe {
  model: ServedModel;
  classifier: ProbeClassifier;
}

const isTime: OptionCheck = (value) =>
  typeof value === "number" && value >= 0 && value <= 0x7fffffff ? undefined : "milliseconds, at least 0";

const isKeys: OptionCheck = (value) =>
  Array.isArray(value) && value.every((key) => typeof key === "string" && /^\S+$/.test(key))
    ? undefined
    : "a list of keys, which are not empty and have no white space";

const isObject: OptionCheck = (value) =>
  typeof value === "object" && value !== null ? undefined : "an object";

const { maxPixels, maxBytes, decodeTimeout, fetchTimeout, formats } = LIMIT_CHECKS;

const CHECKS: Partial<Record<keyof ServerOptions, OptionCheck>> = {
  maxPixels,
  maxBytes,
  decodeTimeout,
  fetchTimeout,
  formats,
  models: isObject,
  indexes: isObject,
  shardTimeout: wholeIn(1, 300_000),
  probes: isObject,
  apiKeys: isKeys,
  bodyLimit: wholeIn(1024, 1 << 30),
  bodyBudget: wholeIn(1024, Number.MAX_SAFE_INTEGER),
  maxBatch: BATCH_SIZE,
  maxDelay: isTime,
  maxWaiting: wholeIn(1, 1 << 20),
  allowUrls: isBoolean,
  allowPrivate: isBoolean,
  autoRotate: isBoolean,
  requestTimeout: isTime,
  drainTimeout: isTime,
};

const MIB = 1 << 20;

/** The options, each read once and checked. E_ARGUMENT. */
export function checkServerOptions(given: ServerOptions): CheckedServerOptions {
  const options = readOptions(given, CHECKS);
  const { models = {} } = options as Partial<ServerOptions>;
  if (Object.keys(models).length === 0)
    throw new TorchclipError("E_ARGUMENT", "models must name at least one model", { subject: "models" });
  const { bodyLimit = 32 * MIB } = options;
  return {
    indexes: {},
    shardTimeout: 10_000,
    probes: {},
    apiKeys: [],
    bodyLimit,
    bodyBudget: Math.max(16 * bodyLimit, 512 * MIB),
    maxBatch: 32,
    maxDelay: 5,
    maxWaiting: 1024,
    allowUrls: false,
    allowPrivate: false,
    autoRotate: false,
    requestTimeout: 60_000,
    drainTimeout: 10_000,
    logger: false,
    ...options,
  };
}
