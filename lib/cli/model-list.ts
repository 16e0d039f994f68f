import { stat } from "node:fs/promises";
import { TorchclipError } from "../errors.js";
import { MODELS, type ModelEntry } from "../models/catalog/registry.js";
import { millions, modelSize, sizeText, type ModelSize } from "../models/catalog/size.js";
import { countParameters } from "../models/parameters.js";
import { installedModel, installedModels } from "../models/store/installed.js";
import { modelSettings } from "../models/store/resolve.js";
import type { Settings } from "../settings.js";
import { note } from "./io.js";
import type { DownloadFlags } from "./options.js";

interface Flags extends DownloadFlags {
  installed?: boolean;
  json?: boolean;
  sort?: "name" | "parameters" | "imagenet";
}

type Row = Omit<ModelEntry, "origin"> & {
  origin?: undefined;
  /** The artifact in the cache, or in the package; absent where the model is not installed. */
  artifact?: string;
  artifactBytes?: number;
  /** What the model takes; absent where its parameters are not published. */
  size?: ModelSize;
};

/** What `torchclip models list` does. */
export async function list(words: string[], flags: Flags): Promise<void> {
  const all = await listed(modelSettings(flags));
  const rows = all.filter((row) => !flags.installed || row.artifact).filter((row) => holdsAll(row, words));
  if (flags.sort) rows.sort(ORDERS[flags.sort]);
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
    return;
  }
  if (rows.length === 0)
    throw new TorchclipError("E_MODEL_NOT_FOUND", `no known model holds ${words.join(", ")}`, {
      subject: words.join(" "),
    });
  process.stdout.write(modelTable(rows));
  note(`\n${LEGEND}`);
}

/** What the table of models means. */
const LEGEND = [
  "* installed. Disk: the artifact where it is installed, else the download (~ by its parameters, in fp32),",
  "which the artifact takes once more.",
  "Accuracies are published ones (docs/models.md), zero-shot, in percent.",
  "Any other CLIP of the hub goes by its id (org/name), any file or folder by its path.",
].join(" ");

/** The models of the registry, then those that were installed by their hub id. */
async function listed(at: Settings): Promise<Row[]> {
  const installed = new Map(
    Object.entries(await installedModels(at)).map(([name, { artifact }]) => [name, artifact]),
  );
  const known = new Set(MODELS.map((model) => model.name));
  const others = [...installed].filter(([name]) => !known.has(name));
  return Promise.all([
    ...MODELS.map(async (model) => namedRow(model, installed.get(model.name) ?? (await bundled(model, at)))),
    ...others.map(([name, artifact]) => rowById(name, artifact)),
  ]);
}

/** The artifact of a model that comes with the package. */
async function bundled({ name, origin }: ModelEntry, at: Settings): Promise<string | undefined> {
  return origin.kind === "bundled" ? (await installedModel(name, at)).artifact : undefined;
}

async function namedRow(model: ModelEntry, artifact: string | undefined): Promise<Row> {
  return { ...model, origin: undefined, size: modelSize(model), ...(await measured(artifact)) };
}

async function rowById(name: string, artifact: string): Promise<Row> {
  const parameters = await countParameters(artifact).catch(() => undefined);
  return {
    name,
    aliases: [],
    description: "from the hub",
    licence: "see its model card",
    parameters,
    ...(await measured(artifact)),
  };
}

async function measured(artifact: string | undefined): Promise<Pick<Row, "artifact" | "artifactBytes">> {
  if (!artifact) return {};
  const info = await stat(artifact).catch(() => undefined);
  return { artifact, artifactBytes: info?.size };
}

function holdsAll({ name, aliases, description }: Row, words: readonly string[]): boolean {
  const text = [name, ...aliases, description].join(" ").toLowerCase();
  return words.every((word) => text.includes(word.toLowerCase()));
}

const ORDERS: Record<NonNullable<Flags["sort"]>, (a: Row, b: Row) => number> = {
  name: (a, b) => a.name.localeCompare(b.name),
  parameters: (a, b) => (a.parameters ?? Infinity) - (b.parameters ?? Infinity),
  imagenet: (a, b) => (b.published?.imagenet ?? -1) - (a.published?.imagenet ?? -1),
};

/**
 * The artifact of an installed model, the download of another; "~" where that follows from the parameters.
 */
function diskText({ artifactBytes, size }: Row): string {
  if (artifactBytes !== undefined) return sizeText(artifactBytes);
  return size ? `${size.exact ? "" : "~"}${sizeText(size.download)}` : "";
}

const HEAD = ["  name", "parameters", "disk", "images", "ImageNet", "Rendered SST2", "licence", ""];
/** The columns that are aligned at the right: all between name and licence. */
const FIRST_NUMBER = 1;
const LAST_NUMBER = 5;

function modelTable(rows: readonly Row[]): string {
  const table = [HEAD, ...rows.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...table.map((row) => row[column].length)));
  const padded = (text: string, column: number) => {
    const isNumber = column >= FIRST_NUMBER && column <= LAST_NUMBER;
    return isNumber ? text.padStart(widths[column]) : text.padEnd(widths[column]);
  };
  const lines = table.map((row) => row.map(padded).join("  ").trimEnd());
  return lines.map((line) => `${line}\n`).join("");
}

function cells(row: Row): string[] {
  const percent = (x: number | undefined) => x?.toFixed(1) ?? "";
  return [
    `${row.artifact ? "*" : " "} ${row.name}`,
    millions(row.parameters),
    diskText(row),
    row.imageSize === undefined ? "" : `${row.imageSize} px`,
    percent(row.published?.imagenet),
    percent(row.published?.renderedSst2),
    row.licence,
    row.aliases.length > 0 ? `also ${row.aliases.join(", ")}` : "",
  ];
}
