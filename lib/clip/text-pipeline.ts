import type { NativeEngine } from "../addon.js";
import { TorchclipError } from "../errors.js";
import { isFast } from "../models/runner.js";
import { tokenize, type TokenizeOptions, type Tokens } from "../text/tokenize.js";
import { makeTokenizer, parseTokenizer, type Tokenizer } from "../text/tokenizer.js";
import { own } from "../util/own.js";
import { runBatches, trimPadding } from "./batches.js";
import { checkList } from "./lists.js";
import type { ClipInfo, EncodedTexts, EncodeTextOptions } from "./options.js";

/** From texts to embeddings: the tokenizer and the text encoder. */
export class TextPipeline {
  private madeTokenizer: Tokenizer | undefined;

  constructor(
    private readonly engine: NativeEngine,
    private readonly tokenizerJson: string,
    private readonly info: ClipInfo,
    /** Whether columns that are padding in all rows may be left out. */
    private readonly trims: boolean,
  ) {}

  /** What `clip.tokenize` does. */
  tokenize(texts: readonly string[], options: TokenizeOptions): Tokens {
    checkList(texts, "texts");
    return tokenize(this.tokenizer, texts, this.info.contextLength, options);
  }

  /** What `clip.encodeTokens` does, with options that were checked. */
  async encodeTokens(tokens: Tokens, options: Omit<EncodeTextOptions, "truncate">): Promise<EncodedTexts> {
    const { batchSize = this.sharesBeginnings ? 256 : 64 } = options;
    const { rows, length } = tokens;
    if (
      !(tokens.data instanceof Int32Array) ||
      tokens.data.length !== rows * length ||
      length < 1 ||
      length > this.info.contextLength
    ) {
      throw new TorchclipError(
        "E_ARGUMENT",
        `tokens must be int32 [rows, length] with a length in 1 to ${this.info.contextLength}`,
        { subject: "tokens" },
      );
    }
    const owned = { ...tokens, data: await own(tokens.data, "tokens") };
    const dim = this.info.embedDim;
    const data = new Float32Array(rows * dim);
    const how = { batchSize, replicas: this.info.replicas, signal: options.signal };
    await runBatches(rows, how, (start, count, cancel) => {
      const ids = trimPadding(owned, start, count, this.trims, this.tokenizer.config.padId);
      return this.engine.encodeTokens(
        ids.data,
        count,
        ids.length,
        data.subarray(start * dim, (start + count) * dim),
        options.normalize ?? true,
        cancel,
      );
    });
    return { data, rows, dim, truncated: tokens.truncated };
  }

  /**
   * Whether what texts of a batch begin with is computed once; such batches go through the layers in parts
   * that fit.
   */
  private get sharesBeginnings(): boolean {
    return this.info.device === "cpu" && isFast(this.info.textRunner);
  }

  /** Made when a text first needs it: its tables take longer than the weights. */
  private get tokenizer(): Tokenizer {
    return (this.madeTokenizer ??= makeTokenizer(
      parseTokenizer(this.tokenizerJson),
      this.info.config.tokenizer,
    ));
  }
}
