import type { Clip } from "../clip/clip.js";
import type { BatchOptions, LoadOptions } from "../clip/options.js";
import type { Embeddings } from "../embeddings.js";
import { TorchclipError } from "../errors.js";
import type { TokenizeOptions } from "../text/tokenize.js";
import { toImageInputs, type ImageContent } from "./image-content.js";

/** How an adapter embeds: what `load`, `encodeImages` and `encodeTexts` take. */
export interface EmbedderOptions
  extends Omit<LoadOptions, "signal">, TokenizeOptions, Pick<BatchOptions, "batchSize" | "autoRotate"> {}

/** A loaded model, or what `load` finds one by: a name, an alias, a hub id, a path. */
export type ModelInput = string | Clip;

/** A call that can be stopped. */
export interface CallOptions {
  signal?: AbortSignal;
}

/**
 * The model behind an adapter. A name is loaded by the first call that needs it, once; a load that failed is
 * tried again by the next call.
 */
export class Embedder {
  private loading: Promise<Clip> | undefined;
  private closed = false;

  /** A `Clip` is used as it is, and stays open when the adapter is closed; load options are not for it. */
  constructor(
    private readonly model: ModelInput,
    private readonly options: EmbedderOptions = {},
  ) {
    const isModel = typeof model === "string" ? model !== "" : isClip(model);
    if (!isModel)
      throw new TorchclipError("E_ARGUMENT", "model must be the name of a model or a loaded Clip", {
        subject: "model",
      });
  }

  /** The name that was given, or that of the loaded model. */
  get name(): string {
    return typeof this.model === "string" ? this.model : this.model.info.config.name;
  }

  /** The model, loaded when it is first needed. E_CLOSED after `close`. */
  async clip(): Promise<Clip> {
    if (this.closed) throw new TorchclipError("E_CLOSED", `the model ${this.name} is closed`);
    if (typeof this.model !== "string") return this.model;
    this.loading ??= this.load(this.model);
    return this.loading;
  }

  private async load(name: string): Promise<Clip> {
    try {
      const { load } = await import("../clip/load.js");
      return await load(name, this.options); // which leaves out what it does not know
    } catch (error) {
      this.loading = undefined;
      throw error;
    }
  }

  /** float32 [texts, dim], normalised. */
  async texts(texts: readonly string[], { signal }: CallOptions = {}): Promise<Embeddings> {
    const clip = await this.clip();
    const { truncate, batchSize } = this.options;
    return clip.encodeTexts(texts, { truncate, batchSize, signal });
  }

  /** float32 [images, dim], normalised. */
  async images(images: readonly ImageContent[], { signal }: CallOptions = {}): Promise<Embeddings> {
    const [clip, inputs] = await Promise.all([this.clip(), toImageInputs(images)]);
    const { batchSize, autoRotate } = this.options;
    return clip.encodeImages(inputs, { batchSize, autoRotate, signal });
  }

  /** Frees the model where it was loaded here. Later calls are E_CLOSED. Safe to call twice. */
  async close(): Promise<void> {
    this.closed = true;
    const loaded = await this.loading?.catch(() => undefined);
    await loaded?.close();
  }
}

/** A `Clip` of this or of another copy of the package. */
function isClip(model: unknown): model is Clip {
  const { encodeTexts, encodeImages, info } = (model ?? {}) as Partial<Clip>;
  return typeof encodeTexts === "function" && typeof encodeImages === "function" && info !== undefined;
}
