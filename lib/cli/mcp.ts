import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import type { Clip } from "../clip/clip.js";
import { cannotRead, TorchclipError } from "../errors.js";
import type { IndexPrecision } from "../search/embedding-index.js";
import { openStored, type StoredIndex } from "../search/stored.js";
import { importOptional } from "../util/optional-package.js";
import { loadForIndex } from "./index-model.js";
import { interruptSignal, note } from "./io.js";
import { loadForImages } from "./load-for-images.js";
import { loadOptions, type ImageFlags, type ModelFlags } from "./options.js";

interface Flags extends ModelFlags, ImageFlags {
  index?: string;
  indexPrecision: IndexPrecision;
  indexDevice: string;
  root?: string;
  imageRoot?: string;
  force?: boolean;
  autoRotate?: boolean;
}

/** What `torchclip mcp` does. It ends when the client closes standard input. */
export async function run(flags: Flags, command: Command): Promise<void> {
  const signal = interruptSignal();
  // Before the model is loaded, which takes longer: a package that is missing is told at once.
  const { createMcpServer } = await import("../mcp/server.js");
  const { StdioServerTransport } = await importOptional(
    "@modelcontextprotocol/sdk",
    "torchclip mcp",
    () => import("@modelcontextprotocol/sdk/server/stdio.js"),
  );
  const root = await folder(flags.root ?? ".", "root");
  const { index: file, indexPrecision: precision, indexDevice: device } = flags;
  const options = { precision, device, signal };
  const stored = file === undefined ? undefined : await openStored(file, options);
  try {
    const clip = await modelOf(stored, flags, command, signal);
    try {
      const imageFolder = await imageFolderOf(stored, flags.imageRoot);
      const server = await createMcpServer({
        clip,
        stored,
        root,
        imageFolder,
        autoRotate: flags.autoRotate,
      });
      await server.connect(new StdioServerTransport());
      note(`torchclip: the MCP server is ready (${clip.info.config.name}; images below ${root}).`);
      await untilEnd(signal);
      await server.close();
    } finally {
      await clip.close();
    }
  } finally {
    stored?.index.close();
  }
}

/** The model of the command line; without --model that of the index. */
function modelOf(
  stored: StoredIndex | undefined,
  flags: Flags,
  command: Command,
  signal: AbortSignal,
): Promise<Clip> {
  if (!stored) return loadForImages(flags.model, loadOptions(flags, signal));
  const isModelGiven = command.getOptionValueSource("model") === "cli";
  return loadForIndex(stored, { ...flags, isModelGiven }, signal);
}

/** Where the images of the index are: the folder of --image-root, else the one that the index names. */
async function imageFolderOf(
  stored: StoredIndex | undefined,
  given: string | undefined,
): Promise<string | undefined> {
  if (given !== undefined) return folder(given, "image-root");
  const { kind, input } = stored?.record ?? {};
  if (kind !== "images" || input === undefined) return undefined;
  return folder(input, "input").catch(() => undefined);
}

/** The absolute path of a folder that an option names. */
async function folder(path: string, option: string): Promise<string> {
  const found = await stat(path).catch((cause: unknown) => {
    throw cannotRead("E_ARGUMENT", path, cause);
  });
  if (!found.isDirectory())
    throw new TorchclipError("E_ARGUMENT", `${path} is no folder`, { subject: option });
  return resolve(path);
}

/** Resolves when the client closes standard input, or with the first Ctrl-C. */
function untilEnd(signal: AbortSignal): Promise<void> {
  return new Promise((end) => {
    process.stdin.once("end", end);
    process.stdin.once("close", end);
    signal.addEventListener("abort", () => end(), { once: true });
  });
}
