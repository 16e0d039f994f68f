import { stat } from "node:fs/promises";
import { Option, type Command } from "commander";
import { TorchclipError } from "../errors.js";
import { MODELS, type ModelEntry } from "../models/catalog/registry.js";
import { modelSize, sizeText, type ModelSize } from "../models/catalog/size.js";
import { describeModel, readArtifactConfig } from "../models/config.js";
import { countParameters } from "../models/parameters.js";
import { installedModel, installedModels, removeModel, verifyModel } from "../models/store/installed.js";
import { modelSettings, resolveModel } from "../models/store/resolve.js";
import type { Settings } from "../settings.js";
import { interruptSignal, note } from "./io.js";
import { mirrorOptions, shownDownload, type DownloadFlags } from "./options.js";

export function modelsCommand(program: Command): void {
  const models = program
    .command("models")
    .description("the models known by name; installs, checks and removes them");
  models
    .command("list", { isDefault: true })
    .description("all names, or those that hold every word of the filter (the default)")
    .argument("[filter...]", "words of the name, alias or description; the case does not matter")
    .addOption(new Option("--sort <column>", "the order").choices(["name", "parameters", "imagenet"]))
    .option("--installed", "only those in the cache")
    .option("--json", "print JSON")
    .option("--cache-dir <folder>", "where models are kept")
    .action(list);
  const one = (name: string, description: string) =>
    models
      .command(`${name} <model...>`)
      .description(description)
      .option("--cache-dir <folder>", "where models are kept");
  mirrorOptions(
    one("pull", "downloads and imports; asks the hub for a newer revision where it is installed already"),
  ).action(pull);
  one("path", "prints the artifact of an installed model").action(
    async (names: string[], flags: DownloadFlags) => {
      for (const name of names)
        process.stdout.write(`${(await installedModel(name, modelSettings(flags))).artifact}\n`);
    },
  );
  one("verify", "reads an installed model from end to end against its checksums").action(
    async (names: string[], flags: DownloadFlags) => {
      const signal = interruptSignal();
      for (const name of names)
        for (const file of await verifyModel(name, modelSettings(flags), signal))
          process.stdout.write(`${file}: sound\n`);
    },
  );
  one("rm", "removes an installed model")
    .option("--weights", "also the downloaded files, in the cache that Python shares")
    .action(async (names: string[], flags: DownloadFlags & { weights?: boolean }) => {
      for (const name of names)
        for (const file of await removeModel(name, modelSettings(flags), flags))
          process.stdout.write(`removed ${file}\n`);
    });
}

interface ListFlags extends DownloadFlags {
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

async function list(words: string[], flags: ListFlags): Promise<void> {
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
  "which the artifact takes once more. Accuracies are published ones (docs/models.md), zero-shot, in percent.",
  "Any other CLIP of the hub goes by its id (org/name), any file or folder by its path.",
].join(" ");

/** The models of the registry, then those that were installed by their hub id. */
async function listed(at: Settings): Promise<Row[]> {
  const installed = await installedModels(at);
  const known = new Set(MODELS.map((m) => m.name));
  const others = Object.keys(installed).filter((name) => !known.has(name));
  const bundled = async ({ name, origin }: ModelEntry) =>
    origin.kind === "bundled" ? (await installedModel(name, at)).artifact : undefined;
  const named = MODELS.map(async (model): Promise<Row> => {
    const artifact = installed[model.name]?.artifact ?? (await bundled(model));
    return { ...model, origin: undefined, size: modelSize(model), ...(await measured(artifact)) };
  });
  const byId = others.map(async (name): Promise<Row> => {
    const { artifact } = installed[name];
    const parameters = await countParameters(artifact).catch(() => undefined);
    return {
      name,
      aliases: [],
      description: "from the hub",
      licence: "see its model card",
      parameters,
      ...(await measured(artifact)),
    };
  });
  return Promise.all([...named, ...byId]);
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

const ORDERS: Record<NonNullable<ListFlags["sort"]>, (a: Row, b: Row) => number> = {
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

function modelTable(rows: readonly Row[]): string {
  const percent = (x: number | undefined) => x?.toFixed(1) ?? "";
  const lines = rows.map((r) => [
    `${r.artifact ? "*" : " "} ${r.name}`,
    r.parameters === undefined ? "" : `${(r.parameters / 1e6).toFixed(r.parameters < 1e7 ? 1 : 0)} M`,
    diskText(r),
    r.imageSize === undefined ? "" : `${r.imageSize} px`,
    percent(r.published?.imagenet),
    percent(r.published?.renderedSst2),
    r.licence,
    r.aliases.length ? `also ${r.aliases.join(", ")}` : "",
  ]);
  const table = [
    ["  name", "parameters", "disk", "images", "ImageNet", "Rendered SST2", "licence", ""],
    ...lines,
  ];
  const widths = table[0].map((_, c) => Math.max(...table.map((row) => row[c].length)));
  const numeric = (c: number) => c >= 1 && c <= 5;
  return table
    .map(
      (row) =>
        `${row
          .map((text, c) => (numeric(c) ? text.padStart(widths[c]) : text.padEnd(widths[c])))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}

async function pull(names: string[], flags: DownloadFlags): Promise<void> {
  const signal = interruptSignal();
  for (const name of names) {
    const options = { ...flags, ...shownDownload(name), refresh: true, signal };
    const artifact = await resolveModel(name, options);
    const { size } = await stat(artifact);
    process.stdout.write(
      `${name}: ${describeModel(await readArtifactConfig(artifact))}\n${artifact} (${(size / 1e6).toFixed(1)} MB)\n`,
    );
  }
}
