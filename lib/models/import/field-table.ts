/** The fields of one kind of config that are known. */
export interface FieldTable {
  /** Read by ./checkpoint-config.ts, ./image-processor.ts or ./tokenizer.ts. */
  read: readonly string[];
  /**
   * Of no effect on embeddings: training, generation, provenance, or a size that the weights' shapes show as
   * well.
   */
  harmless: readonly string[];
  /** Accepted with these values alone, which say what is computed anyway. */
  only?: Readonly<Record<string, readonly unknown[]>>;
}

/** The names in a text, which are separated by white space. */
export function names(text: string): string[] {
  return text.split(/\s+/).filter((name) => name !== "");
}
