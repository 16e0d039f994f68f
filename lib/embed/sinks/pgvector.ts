import type { Client } from "pg";
import { redactUrl } from "../../redact.js";
import { importOptional } from "../../util/optional-package.js";
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
import type { PgvectorTarget } from "./target.js";

/** Rows of a table that are asked for at once. */
const PAGE = 10_000;

/** Opens a table of PostgreSQL with the extension pgvector (https://github.com/pgvector/pgvector). */
export async function openPgvector(target: PgvectorTarget, { create, about }: OpenSink): Promise<Sink> {
  const { default: pg } = await importOptional("pg", "a target pgvector://", () => import("pg"));
  const place = `the table ${target.table} of ${redactUrl(target.url)}`;
  return talking(place, async () => {
    const client = new pg.Client({ connectionString: target.url, application_name: "torchclip" });
    // Without a listener, a connection that the server closes would end the process.
    client.on("error", () => undefined);
    await client.connect();
    try {
      const sink = new PgvectorSink(client, place, quoted(target.table), about);
      await sink.prepare(create);
      return sink;
    } catch (error) {
      await client.end();
      throw error;
    }
  });
}

/** A table's name as an identifier of SQL; the schema stands before a dot. */
function quoted(table: string): string {
  return table
    .split(".")
    .map((part) => `"${part.replaceAll('"', '""')}"`)
    .join(".");
}

class PgvectorSink implements Sink {
  /** A value is sent as text: sign, nine digits, exponent, comma. */
  readonly valueBytes = 15;

  constructor(
    private readonly client: Client,
    private readonly place: string,
    private readonly table: string,
    private readonly about: SinkAbout,
  ) {}

  async prepare(create: boolean): Promise<void> {
    const { client, table, about, place } = this;
    const found = await client.query<{ there: string | null }>("SELECT to_regclass($1) AS there", [table]);
    if (!found.rows[0].there) {
      if (!create) throw noTable(place);
      await this.createTable();
      return;
    }
    checkDim(place, await this.storedDim(), about);
    const { rows } = await client.query<{ model: string }>(`SELECT model FROM ${table} LIMIT 1`);
    checkModel(place, rows.at(0)?.model, about);
  }

  private async createTable(): Promise<void> {
    const { client, table, about } = this;
    const { rowCount } = await client.query("SELECT 1 FROM pg_extension WHERE extname = 'vector'");
    // A user without the right to create extensions may use one that is there.
    if (!rowCount) await client.query("CREATE EXTENSION IF NOT EXISTS vector");
    await client.query(`CREATE TABLE IF NOT EXISTS ${table} (
      id text PRIMARY KEY,
      name text NOT NULL,
      source text NOT NULL,
      kind text NOT NULL,
      model text NOT NULL,
      embedding vector(${about.dim}) NOT NULL
    )`);
  }

  /** The length of the column's vectors, from its type "vector(512)". */
  private async storedDim(): Promise<number | undefined> {
    const { rows } = await this.client.query<{ type: string }>(
      `SELECT format_type(atttypid, atttypmod) AS type FROM pg_attribute
       WHERE attrelid = to_regclass($1) AND attname = 'embedding' AND NOT attisdropped`,
      [this.table],
    );
    const [, dim = ""] = /\bvector\((\d+)\)$/.exec(rows.at(0)?.type ?? "") ?? [];
    return dim === "" ? undefined : Number(dim);
  }

  existing(ids: readonly string[]): Promise<StoredName[]> {
    return this.talk(async () => {
      const text = `SELECT id, name FROM ${this.table} WHERE id = ANY($1::text[])`;
      return (await this.client.query<StoredName>(text, [ids])).rows;
    });
  }

  async upsert(rows: readonly SinkRow[]): Promise<void> {
    const { source, kind, model } = this.about;
    const text = `INSERT INTO ${this.table} (id, name, source, kind, model, embedding)
      SELECT r.id, r.name, $4, $5, $6, r.embedding::vector
      FROM unnest($1::text[], $2::text[], $3::text[]) AS r(id, name, embedding)
      ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, source = EXCLUDED.source,
        kind = EXCLUDED.kind, model = EXCLUDED.model, embedding = EXCLUDED.embedding`;
    const columns = [
      rows.map(({ id }) => id),
      rows.map(({ name }) => name),
      rows.map(({ embedding }) => vectorText(embedding)),
    ];
    await this.talk(() => this.client.query(text, [...columns, source, kind, model]));
  }

  async rename(rows: readonly StoredName[]): Promise<void> {
    const text = `UPDATE ${this.table} AS t SET name = r.name, source = $3
      FROM unnest($1::text[], $2::text[]) AS r(id, name) WHERE t.id = r.id`;
    const columns = [rows.map(({ id }) => id), rows.map(({ name }) => name)];
    await this.talk(() => this.client.query(text, [...columns, this.about.source]));
  }

  async *ids(): AsyncGenerator<string[]> {
    const text = `SELECT id FROM ${this.table} WHERE source = $1 AND id > $2 ORDER BY id LIMIT ${PAGE}`;
    for (let last = ""; ;) {
      const values = [this.about.source, last];
      const { rows } = await this.talk(() => this.client.query<{ id: string }>(text, values));
      if (rows.length === 0) return;
      yield rows.map(({ id }) => id);
      last = rows[rows.length - 1].id;
    }
  }

  async remove(ids: readonly string[]): Promise<void> {
    const text = `DELETE FROM ${this.table} WHERE id = ANY($1::text[])`;
    await this.talk(() => this.client.query(text, [ids]));
  }

  async close(): Promise<void> {
    await this.client.end();
  }

  private talk<T>(work: () => Promise<T>): Promise<T> {
    return talking(this.place, work);
  }
}

/** pgvector's text form: nine digits give back the same float32. */
function vectorText(embedding: Float32Array): string {
  return `[${Array.from(embedding, (value) => value.toPrecision(9)).join(",")}]`;
}
