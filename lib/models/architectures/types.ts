/**
 * A tower is one half of a CLIP: images, or texts, to embeddings. One file here describes one kind of it: the
 * names under which its weights are published, and its sizes. Its tensors' shapes and its TorchScript follow
 * from the sizes: native/core/model/config. See docs/architectures.md.
 */
export interface Tower<Config extends { kind: string }> {
  kind: Config["kind"];
  /** The published layouts of its keys; the first whose probe matches a key is used. */
  layouts: readonly Layout[];
  /** Sizes from the shapes of the weights, the rest from what the checkpoint's config says (`hints`). */
  configure(weights: Shapes, hints: TowerHints): Config;
}

export interface Layout {
  /** "openai", "open_clip", "huggingface", "timm" … */
  name: string;
  probe: RegExp;
  rules: readonly Rule[];
}

/** The first rule that matches a published key says its canonical name. */
export interface Rule {
  from: RegExp;
  /**
   * Canonical name, with $1 … of the match. `#2` at its end: part 2 of a tensor that the artifact holds
   * joined (query, key and value). An empty name: not needed for embeddings.
   */
  to: string;
  /** A Linear layer's [out, in] where the artifact multiplies by [in, out]. */
  transpose?: boolean;
  /** Leading axes of size 1 are dropped. */
  squeeze?: boolean;
}

/** Shape of each canonical tensor that the file has. */
export interface Shapes {
  has(name: string): boolean;
  /**
   * Sizes of the axes. Throws E_MODEL_CORRUPT where the tensor is missing, E_MODEL_UNSUPPORTED where it has
   * another number of axes.
   */
  shape(name: string, axes: 2): [number, number];
  shape(name: string, axes: 4): [number, number, number, number];
  /** How many of prefix.0, prefix.1 … there are; `probe` is appended. */
  count(prefix: string, probe: string): number;
}

/** What the checkpoint's own config, or the caller, says of a tower; all of it optional. */
export interface TowerHints {
  activation?: Activation;
  heads?: number;
  headWidth?: number;
  eps?: number;
  imageSize?: number;
  contextLength?: number;
  pool?: string;
  normAfterPool?: boolean;
  causal?: boolean;
  padId?: number;
  endId?: number;
  poolHeads?: number;
  /** The name of a timm or Hugging Face model inside. */
  model?: string;
}

export type Activation = "quick_gelu" | "gelu" | "gelu_tanh";
