import type { AsyncBuffer, ColumnChunk, PageHeader } from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";

/** The largest page that is read, in bytes; hyparquet-writer begins a new one after 1 MiB. */
const MOST_BYTES = 1 << 28;

/**
 * Checks the headers of all pages of some columns before hyparquet decodes them: it takes their counts as
 * they are, and one that is missing or negative in a damaged file makes it run for ever. A page that is
 * missing would give rows without values. `most` is the largest count. Throws an Error that says what is
 * wrong.
 */
export async function checkPages(file: AsyncBuffer, columns: ColumnChunk[], most: number): Promise<void> {
  for (const column of columns) {
    const [start, end] = rangeOf(column);
    const values = countValues(new DataView(await file.slice(start, end)), most);
    const said = column.meta_data?.num_values;
    if (Number(said) !== values)
      throw new Error(`the pages of a column hold ${values} values, not ${String(said)}`);
  }
}

/** The values of all pages of a column, whose headers are checked. */
function countValues(view: DataView<ArrayBuffer>, most: number): number {
  const reader = { view, offset: 0 };
  let values = 0;
  // The last byte alone is no page: hyparquet leaves it, too.
  while (reader.offset < view.byteLength - 1) {
    const header = parquetHeader(reader);
    checkHeader(header, most);
    reader.offset += header.compressed_page_size;
    if (reader.offset > view.byteLength) throw new Error("a page is cut off");
    values += (header.data_page_header_v2 ?? header.data_page_header)?.num_values ?? 0;
  }
  return values;
}

/** Where the pages of a column lie: its dictionary, where it has one, comes first. */
function rangeOf({ meta_data: about }: ColumnChunk): [start: number, end: number] {
  if (!about) throw new Error("a column has no metadata");
  const { dictionary_page_offset: dictionary, data_page_offset: data, total_compressed_size: bytes } = about;
  const start = Number(dictionary && dictionary < data ? dictionary : data);
  return [start, start + Number(bytes)];
}

function checkHeader(header: PageHeader, most: number): void {
  const { compressed_page_size: stored, uncompressed_page_size: whole } = header;
  const isSized = isCount(stored, MOST_BYTES) && isCount(whole, MOST_BYTES);
  if (!isSized) throw new Error("a page has no valid size");
  if (!countsOf(header).every((count) => isCount(count, most))) throw new Error("a page has no valid counts");
  const levels = header.data_page_header_v2;
  if (!levels) return;
  const bytes = levels.repetition_levels_byte_length + levels.definition_levels_byte_length;
  if (bytes > Math.min(stored, whole)) throw new Error("the levels of a page are longer than the page");
}

function countsOf(header: PageHeader): (number | undefined)[] {
  if (header.type === "DICTIONARY_PAGE") return [header.dictionary_page_header?.num_values];
  if (header.type === "DATA_PAGE") return [header.data_page_header?.num_values];
  if (header.type !== "DATA_PAGE_V2") throw new Error("a page is of no known type");
  const page = header.data_page_header_v2;
  const levels = [page?.repetition_levels_byte_length, page?.definition_levels_byte_length];
  return [page?.num_values, page?.num_nulls, page?.num_rows, ...levels];
}

function isCount(value: number | undefined, most: number): boolean {
  return value !== undefined && Number.isInteger(value) && value >= 0 && value <= most;
}
