import { resolve } from "node:path";
import type { Clip } from "../clip/clip.js";
import type { EmbedToOptions, EmbedToResult } from "../embed/embed-to.js";
import { embedImages, embedTexts, type EmbedOptions, type EmbedResult } from "../embed/embed.js";
import type { DatabaseTarget } from "../embed/sinks/target.js";
import { imageSource, type ImageSource } from "../embed/sources.js";
import { TorchclipError } from "../errors.js";
import { exists } from "../util/files.js";
import { readText } from "../util/text-file.js";

/** What `torchclip embed` embeds, and how. */
export interface Work {
  /** As the command line names it. */
  input: string;
  kind: "images" | "texts";
  embed: (clip: Clip, out: string, options: EmbedOptions) => Promise<EmbedResult>;
  embedTo: (clip: Clip, target: DatabaseTarget, options: EmbedToOptions) => Promise<EmbedToResult>;
  /** What was left out, when all is done. */
  notes: () => string[];
}

/** Images by the argument, or texts by --texts: one of them must be given. */
export async function workOf(input: string | undefined, file: string | undefined): Promise<Work> {
  if (input !== undefined && file === undefined) return imageWork(input, await imageSource(input));
  if (input === undefined && file !== undefined) {
    const lines = (await readText(file, "E_READ")).split(/\r?\n/);
    return textWork(
      file,
      lines.filter((line) => line.length > 0),
    );
  }
  throw new TorchclipError("E_ARGUMENT", "give either images (a folder, list or .tar) or --texts FILE", {
    subject: "input",
  });
}

/** A model's name that holds in every folder: a path is made absolute. */
export async function lastingName(model: string): Promise<string> {
  return (await exists(model)) ? resolve(model) : model;
}

function imageWork(input: string, source: ImageSource): Work {
  return {
    input,
    kind: "images",
    embed: (clip, out, options) => embedImages(clip, source, out, options),
    embedTo: async (clip, target, options) => {
      const { embedImagesTo } = await import("../embed/embed-to.js");
      return embedImagesTo(clip, source, target, options);
    },
    notes: () => source.notes(),
  };
}

function textWork(input: string, texts: readonly string[]): Work {
  return {
    input,
    kind: "texts",
    embed: (clip, out, options) => embedTexts(clip, texts, out, options),
    embedTo: async (clip, target, options) => {
      const { embedTextsTo } = await import("../embed/embed-to.js");
      return embedTextsTo(clip, texts, target, options);
    },
    notes: () => [],
  };
}
