import type { OpenSink, Sink } from "./sink.js";
import type { DatabaseTarget } from "./target.js";

/**
 * Opens the table of a target. E_ARGUMENT where it is not there and is not to be made, where its vectors have
 * another length, and where it holds rows of another model; E_DATABASE; E_PACKAGE_MISSING.
 */
export async function openSink(target: DatabaseTarget, options: OpenSink): Promise<Sink> {
  if (target.kind === "pgvector") return (await import("./pgvector.js")).openPgvector(target, options);
  if (target.kind === "lancedb") return (await import("./lancedb.js")).openLancedb(target, options);
  return (await import("./qdrant.js")).openQdrant(target, options);
}
