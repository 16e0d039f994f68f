import type * as LangChain from "@langchain/core/embeddings";
import { requireOptional } from "../util/optional-package.js";
import { rowsAsNumbers } from "../util/rows.js";
import type { ImageContent } from "./image-content.js";
import { Embedder, type EmbedderOptions, type ModelInput } from "./model.js";

const { Embeddings } = requireOptional(
  "@langchain/core/embeddings",
  "torchclip/langchain",
) as typeof LangChain;

/** Options of `TorchclipEmbeddings`: those of `load`, and `truncate`, `batchSize` and `autoRotate`. */
export interface TorchclipEmbeddingsParams extends EmbedderOptions, LangChain.EmbeddingsParams {
  /** The name of a model, loaded by the first call, or a loaded `Clip`. */
  model: ModelInput;
}

/**
 * LangChain's `Embeddings` by a CLIP model, for its vector stores and retrievers. Texts and images lie in one
 * space: store images by `embedImages` and `vectorStore.addVectors`, and search them by a text. Embeddings
 * are normalised, number[dim] each.
 *
 * @example
 * const embeddings = new TorchclipEmbeddings({ model: "ViT-B/32" });
 * const store = new MemoryVectorStore(embeddings);
 * const paths = ["cat.jpg", "dog.jpg"];
 * const documents = paths.map((path) => ({ pageContent: path, metadata: { path } }));
 * await store.addVectors(await embeddings.embedImages(paths), documents);
 * const [best] = await store.similaritySearch("a photo of a cat", 1);
 */
export class TorchclipEmbeddings extends Embeddings {
  private readonly embedder: Embedder;

  constructor({ model, ...params }: TorchclipEmbeddingsParams) {
    super(params);
    this.embedder = new Embedder(model, params);
  }

  /** Embeddings of texts, in their order. E_TEXT_TOO_LONG unless `truncate` is "end". */
  override async embedDocuments(documents: string[]): Promise<number[][]> {
    return rowsAsNumbers(await this.embedder.texts(documents));
  }

  /** The embedding of one text. */
  override async embedQuery(document: string): Promise<number[]> {
    const [embedding] = await this.embedDocuments([document]);
    return embedding;
  }

  /** Embeddings of images, in their order; the first that cannot be read rejects with its index. */
  async embedImages(images: readonly ImageContent[]): Promise<number[][]> {
    return rowsAsNumbers(await this.embedder.images(images));
  }

  /** The embedding of one image, for a search by it. */
  async embedImageQuery(image: ImageContent): Promise<number[]> {
    const [embedding] = await this.embedImages([image]);
    return embedding;
  }

  /** Frees the model where its name was given. */
  close(): Promise<void> {
    return this.embedder.close();
  }
}
