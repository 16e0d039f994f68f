import type { EmbeddingModelV4, EmbeddingModelV4CallOptions, EmbeddingModelV4Result } from "@ai-sdk/provider";
import { TorchclipError } from "../errors.js";
import { rowsAsNumbers } from "../util/rows.js";
import type { ImageContent } from "./image-content.js";
import { Embedder, type EmbedderOptions, type ModelInput } from "./model.js";

/** A part of the content of a value. */
export type TorchclipPart =
  | { type: "text"; text: string }
  /** A path, a `file:`, `http(s):` or `data:` URL, or bytes; `mediaType` is not needed. */
  | { type: "image"; image: ImageContent; mediaType?: string };

/** What `providerOptions.torchclip` of `embed` and `embedMany` may hold. */
export interface TorchclipEmbeddingOptions {
  /**
   * An entry for each value, in their order: `null` for a value that is embedded as the text it is, else one
   * part, which is embedded in place of the value. The value is then "" by convention. CLIP has no joint
   * embedding of a text and an image: an entry of several parts, or an image beside a text, is E_ARGUMENT.
   */
  content?: readonly (readonly TorchclipPart[] | null)[];
}

/**
 * An embedding model of the AI SDK (EmbeddingModelV4) for `embed` and `embedMany`. A name is loaded by the
 * first call; options are those of `load`, and `truncate`, `batchSize` and `autoRotate`.
 *
 * @example
 * import { embed, embedMany } from "ai";
 * import { torchclip } from "torchclip/ai-sdk";
 *
 * const model = torchclip("ViT-B/32");
 * const { embedding } = await embed({ model, value: "a photo of a cat" });
 * const content = [[{ type: "image", image: "cat.jpg" }], [{ type: "image", image: "dog.jpg" }]];
 * const { embeddings } = await embedMany({
 *   model,
 *   values: ["", ""],
 *   providerOptions: { torchclip: { content } },
 * });
 * await model.close();
 */
export function torchclip(model: ModelInput, options: EmbedderOptions = {}): TorchclipEmbeddingModel {
  return new TorchclipEmbeddingModel(model, options);
}

/** See `torchclip`. Embeddings are normalised, number[dim] each. */
export class TorchclipEmbeddingModel implements EmbeddingModelV4 {
  readonly specificationVersion = "v4" as const;
  readonly provider = "torchclip";
  /**
   * No limit: the AI SDK would hand the whole `providerOptions` to each part of the values, so that their
   * positions were lost. The model itself works in batches.
   */
  readonly maxEmbeddingsPerCall = Infinity;
  /** The calls share one queue of the device. */
  readonly supportsParallelCalls = true;
  private readonly embedder: Embedder;

  constructor(model: ModelInput, options: EmbedderOptions = {}) {
    this.embedder = new Embedder(model, options);
  }

  get modelId(): string {
    return this.embedder.name;
  }

  /** What `embed` and `embedMany` call. */
  async doEmbed(options: EmbeddingModelV4CallOptions): Promise<EmbeddingModelV4Result> {
    const { values, dimensions, providerOptions, abortSignal: signal } = options;
    const { content } = (providerOptions?.torchclip ?? {}) as TorchclipEmbeddingOptions;
    const items = itemsOf(values, content);
    const [texts, images] = await Promise.all([this.texts(items, signal), this.images(items, signal)]);
    const embeddings = items.map(({ kind }) => (kind === "image" ? images : texts).shift() ?? []);
    await this.checkDimensions(dimensions);
    return { embeddings, warnings: [] };
  }

  /** Frees the model where its name was given. */
  close(): Promise<void> {
    return this.embedder.close();
  }

  private async texts(items: readonly Item[], signal: AbortSignal | undefined): Promise<number[][]> {
    const texts = items.flatMap((item) => (item.kind === "text" ? [item.text] : []));
    return texts.length > 0 ? rowsAsNumbers(await this.embedder.texts(texts, { signal })) : [];
  }

  private async images(items: readonly Item[], signal: AbortSignal | undefined): Promise<number[][]> {
    const images = items.flatMap((item) => (item.kind === "image" ? [item.image] : []));
    return images.length > 0 ? rowsAsNumbers(await this.embedder.images(images, { signal })) : [];
  }

  /** CLIP's embeddings cannot be shortened: one of fewer dimensions is another model's. */
  private async checkDimensions(wanted: number | undefined): Promise<void> {
    if (wanted === undefined) return;
    const { embedDim } = (await this.embedder.clip()).info;
    if (wanted !== embedDim) {
      const message = `${this.modelId} gives ${embedDim} dimensions and cannot give ${wanted}`;
      throw argument("dimensions", message);
    }
  }
}

/** What one value is embedded as. */
type Item = { kind: "text"; text: string } | { kind: "image"; image: ImageContent };

function itemsOf(values: readonly string[], content: TorchclipEmbeddingOptions["content"]): Item[] {
  if (content === undefined) return values.map((text) => ({ kind: "text", text }));
  const given: unknown = content;
  if (!Array.isArray(given) || given.length !== values.length) {
    const found = Array.isArray(given) ? `${given.length} entries` : "no list";
    const message = `it needs an entry for each of ${values.length} values, not ${found}`;
    throw argument("providerOptions.torchclip.content", `providerOptions.torchclip.content: ${message}`);
  }
  return values.map((value, index) => itemOf(value, content[index], index));
}

function itemOf(value: string, parts: readonly TorchclipPart[] | null | undefined, index: number): Item {
  if (parts === null || parts === undefined) return { kind: "text", text: value };
  const what = `providerOptions.torchclip.content[${index}]`;
  const all = Array.isArray(parts) ? (parts as readonly TorchclipPart[]) : [];
  if (all.length !== 1 || value !== "") {
    const message =
      `${what} must be one part, beside the value "": ` +
      "CLIP embeds a text or an image, and has no embedding of both";
    throw argument(what, message, index);
  }
  const [part] = all as readonly (TorchclipPart | null)[];
  if (part?.type === "text" && typeof part.text === "string") return { kind: "text", text: part.text };
  if (part?.type === "image") return { kind: "image", image: part.image };
  throw argument(what, `${what} must be { type: "text", text } or { type: "image", image }`, index);
}

function argument(subject: string, message: string, index?: number): TorchclipError {
  return new TorchclipError("E_ARGUMENT", message, { subject, index });
}
