import type { Clip } from "../clip/clip.js";
import type { Embeddings } from "../embeddings.js";
import { TorchclipError } from "../errors.js";
import { nearestHits, type StoredHit, type StoredIndex } from "../search/stored.js";
import { pathInside } from "../util/inside.js";
import { rowsAsNumbers } from "../util/rows.js";
import { imageBelow } from "./image-root.js";

/** What the tools work with. */
export interface ToolContext {
  clip: Clip;
  /** What `search_images` searches; without it there is no such tool. */
  stored?: StoredIndex;
  /** The folder whose images a client may name. */
  root: string;
  /** The folder of the index's images; undefined where it is not known. */
  imageFolder?: string;
  /** Turn images as their EXIF orientation says. */
  autoRotate?: boolean;
}

/** The request's own signal: a client may take a call back. */
type Signal = AbortSignal | undefined;

export interface Hit extends StoredHit {
  /** Where the image is, for a client on this machine; left out where it is not known. */
  path?: string;
}

export interface SearchArguments {
  query?: string;
  image?: string;
  top_k: number;
}

/** The images of the index that are nearest to a text or to an image. */
export async function searchImages(
  context: ToolContext,
  { query, image, top_k: k }: SearchArguments,
  signal: Signal,
): Promise<Hit[]> {
  const { stored } = context;
  if (!stored) throw argument("index", "no index is open: start the server with --index");
  const embedded = await queryEmbedding(context, query, image, signal);
  const hits = await nearestHits(stored, embedded, k);
  return Promise.all(
    hits.map(async (hit) => {
      const path = await pathOf(context, hit.name);
      return path === undefined ? hit : { ...hit, path };
    }),
  );
}

function queryEmbedding(
  context: ToolContext,
  query: string | undefined,
  image: string | undefined,
  signal: Signal,
): Promise<Embeddings> {
  if (query !== undefined && image === undefined)
    return context.clip.encodeTexts([query], { truncate: "end", signal });
  if (image !== undefined && query === undefined) return encodeImages(context, [image], signal);
  throw argument("query", "give either query, a text, or image");
}

async function pathOf({ imageFolder }: ToolContext, name: string): Promise<string | undefined> {
  if (imageFolder === undefined) return undefined;
  return pathInside(imageFolder, name).catch(() => undefined);
}

export interface ClassifyArguments {
  image: string;
  labels: string[];
  template?: string;
  top_k?: number;
}

export interface LabelScore {
  label: string;
  /** Of the label among the labels of the call: they add up to 1 for a model with the softmax loss. */
  probability: number;
  /** −1 to 1. */
  cosine: number;
}

/** The labels ranked for one image. */
export async function classifyImage(
  context: ToolContext,
  { image, labels, template, top_k: topK }: ClassifyArguments,
  signal: Signal,
): Promise<LabelScore[]> {
  const input = await imageBelow(context.root, image);
  const { autoRotate } = context;
  const options = { template, topK: topK ?? labels.length, autoRotate, signal };
  const ranked = await context.clip.classify(input, labels, options);
  return ranked.map(({ label, probability, cosine }) => ({ label, probability, cosine }));
}

export interface EmbedArguments {
  texts?: string[];
  images?: string[];
}

export interface Embedded {
  model: string;
  dim: number;
  /** Normalised, [texts or images, dim]. */
  embeddings: number[][];
}

/** Embeddings of texts or of images. */
export async function embed(
  context: ToolContext,
  { texts, images }: EmbedArguments,
  signal: Signal,
): Promise<Embedded> {
  if ((texts === undefined) === (images === undefined))
    throw argument("texts", "give either texts or images");
  const embeddings = await (images
    ? encodeImages(context, images, signal)
    : context.clip.encodeTexts(texts ?? [], { signal }));
  return {
    model: context.clip.info.config.name,
    dim: embeddings.dim,
    embeddings: rowsAsNumbers(embeddings),
  };
}

async function encodeImages({ clip, root, autoRotate }: ToolContext, images: string[], signal: Signal) {
  const inputs = await Promise.all(images.map((image) => imageBelow(root, image)));
  return clip.encodeImages(inputs, { autoRotate, signal });
}

function argument(subject: string, message: string): TorchclipError {
  return new TorchclipError("E_ARGUMENT", message, { subject });
}
