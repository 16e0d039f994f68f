import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import { writeWhole, type NewFile } from "../util/files.js";
import type { Row } from "./partial.js";
import type { Finished } from "./save-npy.js";

/** A Parquet writer's buffer that goes to a file after each group of rows, and at the end by `flush`. */
class ParquetBuffer extends ByteWriter {
  constructor(private readonly file: NewFile) {
    super();
  }

  async flush(): Promise<void> {
    const bytes = Buffer.from(this.getBytes());
    this.index = 0;
    await this.file.write(bytes);
  }
}

const SCHEMA: ConstructorParameters<typeof ParquetWriter>[0]["schema"] = [
  { name: "root", num_children: 4 },
  { name: "name", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
  { name: "embedding", repetition_type: "REQUIRED", num_children: 1, converted_type: "LIST" },
  { name: "list", repetition_type: "REPEATED", num_children: 1 },
  { name: "element", type: "FLOAT", repetition_type: "REQUIRED" },
  { name: "error", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
  { name: "content", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
];

/** OUT.parquet: name, embedding, error and hash of the content of each row, the record in the metadata. */
export async function saveParquet(out: string, { state, order, dim, record }: Finished): Promise<void> {
  await writeWhole(out, async (file) => {
    const buffer = new ParquetBuffer(file);
    const kvMetadata = [{ key: "torchclip", value: JSON.stringify(record) }];
    const parquet = new ParquetWriter({ writer: buffer, schema: SCHEMA, kvMetadata });
    let written = 0;
    for await (const floats of state.parts(order)) {
      const rows = order.slice(written, written + floats.length / dim).map((row) => state.at(row));
      written += rows.length;
      await parquet.write({ columnData: columns(rows, floats, dim), rowGroupSize: rows.length });
    }
    await parquet.finish();
    await buffer.flush();
  });
}

function columns(rows: readonly Row[], embeddings: Float32Array, dim: number) {
  const embedding = (row: number) => Array.from(embeddings.subarray(row * dim, (row + 1) * dim));
  return [
    { name: "name", data: rows.map(({ name }) => name) },
    { name: "embedding", data: rows.map((_, row) => embedding(row)) },
    { name: "error", data: rows.map(({ error }) => (error ? `${error.code}: ${error.message}` : null)) },
    { name: "content", data: rows.map(({ content }) => content) },
  ];
}
