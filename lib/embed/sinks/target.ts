import { TorchclipError } from "../../errors.js";

/** A file of embeddings. */
export interface FileTarget {
  kind: "file";
  path: string;
}

/** A table of PostgreSQL with the extension pgvector. */
export interface PgvectorTarget {
  kind: "pgvector";
  /** postgresql://…, as `pg` takes it. */
  url: string;
  /** Its name, with the schema before a dot where one is given. */
  table: string;
}

/** A table of LanceDB in a folder. */
export interface LancedbTarget {
  kind: "lancedb";
  folder: string;
  table: string;
}

/** A collection of a Qdrant server. */
export interface QdrantTarget {
  kind: "qdrant";
  /** http(s)://host:port, without a slash at its end. */
  url: string;
  collection: string;
}

export type DatabaseTarget = PgvectorTarget | LancedbTarget | QdrantTarget;
export type Target = FileTarget | DatabaseTarget;

const DEFAULT_TABLE = "torchclip";
const QDRANT_PORT = 6333;
const FORMS =
  "OUT.npy, OUT.parquet, pgvector://user@host/database?table=name, lancedb:folder?table=name or " +
  "qdrant://host:6333/collection";

/**
 * Where `torchclip embed --to` writes. The table is "torchclip" where the target names none. E_ARGUMENT for a
 * target of no known form.
 *
 * @example
 * parseTarget("lancedb:photos?table=images"); // { kind: "lancedb", folder: "photos", table: "images" }
 */
export function parseTarget(text: string): Target {
  if (/^pgvector:\/\//i.test(text)) return pgvector(text);
  if (/^qdrant:\/\//i.test(text)) return qdrant(text);
  if (/^lancedb:/i.test(text)) return lancedb(text);
  if (/\.(npy|parquet)$/i.test(text)) return { kind: "file", path: text };
  throw wrong(text, `it must be ${FORMS}`);
}

function pgvector(text: string): PgvectorTarget {
  const url = parseUrl(text, "postgresql:");
  const table = url.searchParams.get("table") ?? DEFAULT_TABLE;
  url.searchParams.delete("table");
  if (table === "") throw wrong(text, "the name of the table is empty");
  return { kind: "pgvector", url: url.href, table };
}

/** `?tls=true` is for a server behind https. */
function qdrant(text: string): QdrantTarget {
  const url = parseUrl(text, "http:");
  const collection = decodeURIComponent(url.pathname.replace(/^\/+|\/+$/g, ""));
  if (collection === "" || collection.includes("/"))
    throw wrong(text, "it must name a collection: qdrant://host:6333/collection");
  const scheme = url.searchParams.get("tls") === "true" ? "https" : "http";
  // The parser leaves out port 80, which is the default of http.
  const port = /^qdrant:\/\/[^/?#]*:80(?=[/?#]|$)/i.test(text) ? "80" : url.port || String(QDRANT_PORT);
  return { kind: "qdrant", url: `${scheme}://${url.hostname}:${port}`, collection };
}

function lancedb(text: string): LancedbTarget {
  const [, folder = "", query = ""] = /^lancedb:(?:\/\/(?=\/))?([^?]*)(?:\?(.*))?$/i.exec(text) ?? [];
  const table = new URLSearchParams(query).get("table") ?? DEFAULT_TABLE;
  if (folder === "" || table === "")
    throw wrong(text, "it must be lancedb:folder or lancedb:folder?table=name");
  return { kind: "lancedb", folder, table };
}

/** The URL with another scheme: schemes that the parser does not know have no host of their own. */
function parseUrl(text: string, scheme: "postgresql:" | "http:"): URL {
  const known = text.replace(/^[a-z]+:/i, scheme);
  if (!URL.canParse(known)) throw wrong(text, `it is no URL; it must be ${FORMS}`);
  return new URL(known);
}

function wrong(text: string, why: string): TorchclipError {
  return new TorchclipError("E_ARGUMENT", `cannot write to ${text}: ${why}`, { subject: "to" });
}
