import type * as Arrow from "apache-arrow";
import type * as Lance from "@lancedb/lancedb/embedding";
import type { Precision, Device } from "../clip/options.js";
import { TorchclipError } from "../errors.js";
import { requireBeside, requireOptional } from "../util/optional-package.js";
import { rowAt } from "../util/rows.js";
import type { ImageContent } from "./image-content.js";
import { Embedder } from "./model.js";

const FEATURE = "torchclip/lancedb";
const { EmbeddingFunction, getRegistry, register } = requireOptional(
  "@lancedb/lancedb/embedding",
  FEATURE,
) as typeof Lance;
/** The Arrow of LanceDB: types of another copy would not be recognised. */
const { Float32 } = requireBeside("apache-arrow", "@lancedb/lancedb", FEATURE) as typeof Arrow;

/** The name under which LanceDB finds the function again when a table is opened. */
const NAME = "torchclip";

/** Options of the function. A table keeps them as JSON, so that they must hold on the machine that opens it. */
export interface TorchclipFunctionOptions {
  /** The name of a model, as `load` takes it. Default "tiny", a toy. */
  model?: string;
  /**
   * What the source column holds. "images" (default): paths or URLs as strings, or the bytes of encoded files.
   * "texts": strings.
   */
  source?: "images" | "texts";
  /** As in `load`. Default "auto". */
  device?: Device;
  /** As in `load`. Default "fp32". */
  precision?: Precision;
  /** What becomes of texts that are longer than the context. Default "error". */
  truncate?: "error" | "end";
  /** Images or texts in one forward pass. Default 32 images, 256 texts. */
  batchSize?: number;
}

/** What a row of the source column, or a query, may be. */
export type TorchclipValue = string | ImageContent;

/**
 * LanceDB's `EmbeddingFunction` by a CLIP model: rows of images are embedded when they are added, and a search
 * by a text finds them. Importing "torchclip/lancedb" registers it as "torchclip", which must be done before a
 * table with it is opened. Vectors are normalised float32.
 *
 * @example
 * import * as lancedb from "@lancedb/lancedb";
 * import { LanceSchema, getRegistry } from "@lancedb/lancedb/embedding";
 * import { Utf8 } from "apache-arrow";
 * import "torchclip/lancedb";
 *
 * const clip = await getRegistry().get("torchclip").create({ model: "ViT-B/32" });
 * const schema = LanceSchema({ path: clip.sourceField(new Utf8()), vector: clip.vectorField() });
 * const db = await lancedb.connect("photos.lancedb");
 * const table = await db.createTable("photos", [{ path: "cat.jpg" }], { schema });
 * const [best] = await table.search("a photo of a cat").limit(1).toArray();
 */
export class TorchclipEmbeddingFunction extends EmbeddingFunction<TorchclipValue, TorchclipFunctionOptions> {
  private readonly embedder: Embedder;
  private readonly source: "images" | "texts";
  private dimensions: number | undefined;

  constructor(given: TorchclipFunctionOptions = {}) {
    super();
    const { model = "tiny", source = "images", ...options } = this.resolveVariables(given);
    const kinds: readonly string[] = ["images", "texts"];
    if (!kinds.includes(source))
      throw new TorchclipError("E_ARGUMENT", `source must be images or texts, not ${source}`, {
        subject: "source",
      });
    this.source = source;
    this.embedder = new Embedder(model, options);
  }

  /** Loads the model; LanceDB calls it before the function is used. */
  override async init(): Promise<void> {
    this.dimensions = (await this.embedder.clip()).info.embedDim;
  }

  /** The dimension of the vectors; undefined before `init`. */
  override ndims(): number | undefined {
    return this.dimensions;
  }

  override embeddingDataType(): Arrow.Float32 {
    return new Float32();
  }

  /** Vectors of values of the source column, in their order. */
  override async computeSourceEmbeddings(data: TorchclipValue[]): Promise<Float32Array[]> {
    const values = Array.from(data, (value, index) => checked(value, index));
    const rows = this.source === "images" ? await this.embedder.images(values) : await this.texts(values);
    return values.map((_, row) => rowAt(rows, row));
  }

  /** The vector of a query: a string is a text; bytes, a URL object or decoded pixels are an image. */
  override async computeQueryEmbeddings(data: TorchclipValue): Promise<Float32Array> {
    const rows = await (typeof data === "string" ? this.texts([data]) : this.embedder.images([data]));
    return rowAt(rows, 0);
  }

  /** Frees the model. */
  close(): Promise<void> {
    return this.embedder.close();
  }

  private texts(values: readonly TorchclipValue[]) {
    const texts = values.map((value, index) => {
      if (typeof value === "string") return value;
      throw new TorchclipError("E_ARGUMENT", `row ${index} of the source column is no text`, { index });
    });
    return this.embedder.texts(texts);
  }
}

/** A column may hold null, which cannot be embedded. */
function checked(value: TorchclipValue | null | undefined, index: number): TorchclipValue {
  if (value !== null && value !== undefined) return value;
  throw new TorchclipError("E_ARGUMENT", `row ${index} of the source column is null`, { index });
}

// Another copy of the package may have registered its own, which does the same.
if (!getRegistry().get(NAME)) register(NAME)(TorchclipEmbeddingFunction);
