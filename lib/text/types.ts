/** The libraries whose tokenizers of a CLIP vocabulary differ; see `TokenizerConfig.dialect`. */
export type ClipDialect = "openai" | "open_clip" | "transformers";

/** How a text becomes token ids. */
export interface TokenizerConfig {
  /** "clip": OpenAI's byte-level BPE; "huggingface": any other, as its tokenizer.json says. */
  kind: "clip" | "huggingface";
  /**
   * Of kind "clip": which library's rules it follows. "openai" and "open_clip" find their special tokens
   * among the words, spelt `<|endoftext|>` and `<end_of_text>`. "transformers" finds all `added_tokens` of
   * the tokenizer.json before it cuts words. Default: "openai" where `clean` is "openai", else
   * "transformers".
   */
  dialect?: ClipDialect;
  /**
   * What is done to the text first. "openai": ftfy's repairs, HTML entities, white space, lower case
   * (openai/CLIP, open_clip). "whitespace": that without the lower case (open_clip with a tokenizer of
   * transformers). "whitespace_underscore": that, and spaces for underscores. "canonicalize": that, and lower
   * case without punctuation (open_clip's SigLIP). "siglip": lower case without punctuation (transformers'
   * SigLIP). "lower": lower case (SigLIP 2 in transformers). "none": the tokenizer's own normaliser alone
   * (transformers).
   */
  clean: "none" | "openai" | "whitespace" | "whitespace_underscore" | "canonicalize" | "siglip" | "lower";
  /** Fills a row after its end. */
  padId: number;
  /** Last id of a row that was cut; null where the tokenizer has no end token. */
  endId: number | null;
  /** The end token is replaced by padding (CLIPA, which was trained so). */
  stripEnd?: boolean;
}

/** An entry of tokenizer.json's `added_tokens`. */
export interface AddedToken {
  id: number;
  content: string;
  /** Found only where no letter, digit or underscore touches it. */
  single_word?: boolean;
  /** White space before it, or after it, belongs to it. */
  lstrip?: boolean;
  rstrip?: boolean;
  /** Found in the normalised text instead of the text as it is given. */
  normalized?: boolean;
  special?: boolean;
}

/** What is read of a tokenizer.json. */
export interface TokenizerJson {
  model: { vocab: Record<string, number>; merges: (string | [string, string])[]; [other: string]: unknown };
  added_tokens?: AddedToken[];
  normalizer?: unknown;
}
