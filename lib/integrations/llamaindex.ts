import type * as LlamaIndex from "@llamaindex/core/embeddings";
import type { ImageType } from "@llamaindex/core/schema";
import { requireOptional } from "../util/optional-package.js";
import { rowsAsNumbers } from "../util/rows.js";
import { Embedder, type EmbedderOptions, type ModelInput } from "./model.js";

const { MultiModalEmbedding } = requireOptional(
  "@llamaindex/core/embeddings",
  "torchclip/llamaindex",
) as typeof LlamaIndex;

/** Options of `TorchclipEmbedding`: those of `load`, and `truncate`, `batchSize` and `autoRotate`. */
export interface TorchclipEmbeddingParams extends EmbedderOptions {
  /** The name of a model, loaded by the first call, or a loaded `Clip`. */
  model: ModelInput;
}

/** Nodes that LlamaIndex hands over at once, so that the model works in whole batches. */
const NODES_AT_ONCE = 256;

/**
 * LlamaIndex's `MultiModalEmbedding` by a CLIP model: text nodes and image nodes of an index in one space, in
 * place of `ClipEmbedding` of @llamaindex/clip. Embeddings are normalised, number[dim] each.
 *
 * @example
 * Settings.embedModel = new TorchclipEmbedding({ model: "ViT-B/32", truncate: "end" });
 * const query = [{ type: "image_url", image_url: { url: "cat.jpg" } }];
 * const embedding = await Settings.embedModel.getQueryEmbedding(query);
 */
export class TorchclipEmbedding extends MultiModalEmbedding {
  private readonly embedder: Embedder;

  constructor({ model, ...options }: TorchclipEmbeddingParams) {
    super();
    this.embedder = new Embedder(model, options);
    this.embedBatchSize = NODES_AT_ONCE;
    // A property of the base class, which it sets in its constructor.
    this.getTextEmbeddings = async (texts) => rowsAsNumbers(await this.embedder.texts(texts));
  }

  /** The embedding of one text. E_TEXT_TOO_LONG unless `truncate` is "end". */
  override async getTextEmbedding(text: string): Promise<number[]> {
    const [embedding] = await this.getTextEmbeddings([text]);
    return embedding;
  }

  /** The embedding of one image: a path, a URL (also `data:`) or a Blob. */
  override async getImageEmbedding(image: ImageType): Promise<number[]> {
    const [embedding] = await this.getImageEmbeddings([image]);
    return embedding;
  }

  /** Embeddings of images, in their order; the first that cannot be read rejects with its index. */
  override async getImageEmbeddings(images: ImageType[]): Promise<number[][]> {
    return rowsAsNumbers(await this.embedder.images(images));
  }

  /** Frees the model where its name was given. */
  close(): Promise<void> {
    return this.embedder.close();
  }
}
