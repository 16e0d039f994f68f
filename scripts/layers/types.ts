/** The table of layers, as scripts/layers.json states it and as it is checked. */

/** One use of a file, a library, the environment or the addon's file by a file. */
export interface Edge {
  from: string;
  to: string;
  typeOnly: boolean;
}

/** A layer, as the table states it. */
export interface StatedLayer {
  /** Its folder, or a name where `files` says what belongs to it. */
  name: string;
  /** A folder ("lib/text": its own files only), a tree ("test/**") or a file; default: `[name]`. */
  files?: string[];
  /** A sentence for CONTRIBUTING.md. */
  holds: string;
  /** The layers that it may import, which stand above it; "lib/*" is each whose name starts so. */
  uses?: string[];
  /** The layers of which it may import types alone. */
  types?: string[];
  /** Libraries whose headers it may include, `ENVIRONMENT`, `ADDON_FILE`. */
  external?: string[];
}

/** A use that is forgiven; several files may be named that use one. */
export interface StatedException {
  from: string | string[];
  to: string;
  why: string;
}

interface Places {
  /** The folders whose files belong to a layer, and those below them that do not. */
  sources: string[];
  skipped: string[];
  /** The folders in which reads of the environment and of addons are looked for. */
  scanned: string[];
  /** Where C++ looks for headers. */
  includeFolders: string[];
  /** The prefixes of the headers of each library. */
  libraries: Record<string, string[]>;
}

export interface StatedTable extends Places {
  layers: StatedLayer[];
  exceptions: StatedException[];
}

/** What the table in CONTRIBUTING.md says of a layer. */
export interface DocumentedLayer {
  name: string;
  files: string[];
  holds: string;
  external: string[];
  stated: Pick<StatedLayer, "uses" | "types">;
}

/** A layer with "lib/*" written out. */
export interface Layer extends DocumentedLayer {
  uses: string[];
  types: string[];
}

export interface Exception {
  from: string;
  to: string;
  why: string;
}

export interface Table extends Places {
  layers: Layer[];
  exceptions: Exception[];
}
