import type * as Arrow from "apache-arrow";
import type { Table } from "@lancedb/lancedb";
import { importOptional, requireBeside } from "../../util/optional-package.js";
import {
  checkDim,
  checkModel,
  noTable,
  talking,
  type OpenSink,
  type Sink,
  type SinkAbout,
  type SinkRow,
  type StoredName,
} from "./sink.js";
import type { LancedbTarget } from "./target.js";

const FEATURE = "a target lancedb:";
const PACKAGE = "@lancedb/lancedb";
/** Rows of a table that are asked for at once. */
const PAGE = 10_000;
/** Ids in one condition. */
const IDS_AT_ONCE = 1000;
/** LanceDB searches the column of this name where a query names none. */
const VECTOR = "vector";

/** Opens a table of LanceDB (https://lancedb.com), which works inside this process. */
export async function openLancedb(target: LancedbTarget, { create, about }: OpenSink): Promise<Sink> {
  const lancedb = await importOptional(PACKAGE, FEATURE, () => import("@lancedb/lancedb"));
  const { folder, table: name } = target;
  const place = `the table ${name} of ${folder}`;
  return talking(place, async () => {
    const db = await lancedb.connect(folder);
    const isThere = (await tableNames(db)).includes(name);
    if (!isThere && !create) throw noTable(place);
    const table = isThere ? await db.openTable(name) : await db.createEmptyTable(name, schema(about.dim));
    const sink = new LancedbSink(table, place, about);
    if (isThere) await sink.check();
    return sink;
  });
}

const NAMES_AT_ONCE = 100;

/** The names of all tables, which LanceDB gives page by page. */
async function tableNames(db: {
  tableNames(options: { startAfter?: string; limit: number }): Promise<string[]>;
}): Promise<string[]> {
  const all: string[] = [];
  for (;;) {
    const page = await db.tableNames({ startAfter: all.at(-1), limit: NAMES_AT_ONCE });
    all.push(...page);
    if (page.length < NAMES_AT_ONCE) return all;
  }
}

function schema(dim: number): Arrow.Schema {
  const { Field, FixedSizeList, Float32, Schema, Utf8 } = requireBeside(
    "apache-arrow",
    PACKAGE,
    FEATURE,
  ) as typeof Arrow;
  const texts = ["id", "name", "source", "kind", "model"].map((name) => new Field(name, new Utf8(), false));
  const vector = new FixedSizeList(dim, new Field("item", new Float32(), true));
  return new Schema([...texts, new Field(VECTOR, vector, false)]);
}

class LancedbSink implements Sink {
  readonly valueBytes = 4;

  constructor(
    private readonly table: Table,
    private readonly place: string,
    private readonly about: SinkAbout,
  ) {}

  async check(): Promise<void> {
    const { fields } = await this.table.schema();
    const type = fields.find(({ name }) => name === VECTOR)?.type as { listSize?: number } | undefined;
    checkDim(this.place, type?.listSize, this.about);
    const rows = (await this.table.query().select(["model"]).limit(1).toArray()) as { model: string }[];
    checkModel(this.place, rows.at(0)?.model, this.about);
  }

  existing(ids: readonly string[]): Promise<StoredName[]> {
    return this.talk(async () => {
      const found: StoredName[] = [];
      for (const condition of conditions(ids)) {
        const query = this.table.query().where(condition).select(["id", "name"]);
        const rows = (await query.toArray()) as StoredName[];
        found.push(...rows.map(({ id, name }) => ({ id, name })));
      }
      return found;
    });
  }

  async upsert(rows: readonly SinkRow[]): Promise<void> {
    const { source, kind, model } = this.about;
    const records = rows.map(({ id, name, embedding }) => ({
      id,
      name,
      source,
      kind,
      model,
      [VECTOR]: Array.from(embedding),
    }));
    await this.talk(() =>
      this.table.mergeInsert("id").whenMatchedUpdateAll().whenNotMatchedInsertAll().execute(records),
    );
  }

  async rename(rows: readonly StoredName[]): Promise<void> {
    const { source } = this.about;
    for (const { id, name } of rows)
      await this.talk(() => this.table.update({ where: `id = '${id}'`, values: { name, source } }));
  }

  async *ids(): AsyncGenerator<string[]> {
    const source = this.about.source.replaceAll("'", "''");
    for (let offset = 0; ; offset += PAGE) {
      const query = this.table.query().where(`source = '${source}'`).select(["id"]);
      const rows = await this.talk(() => query.offset(offset).limit(PAGE).toArray());
      if (rows.length > 0) yield (rows as StoredName[]).map(({ id }) => id);
      if (rows.length < PAGE) return;
    }
  }

  async remove(ids: readonly string[]): Promise<void> {
    for (const condition of conditions(ids)) await this.talk(() => this.table.delete(condition));
  }

  close(): Promise<void> {
    this.table.close();
    return Promise.resolve();
  }

  private talk<T>(work: () => Promise<T>): Promise<T> {
    return talking(this.place, work);
  }
}

/** Ids are hex digits, which need no quoting. */
function* conditions(ids: readonly string[]): Generator<string> {
  for (let from = 0; from < ids.length; from += IDS_AT_ONCE) {
    const some = ids.slice(from, from + IDS_AT_ONCE).map((id) => `'${id}'`);
    yield `id IN (${some.join(", ")})`;
  }
}
