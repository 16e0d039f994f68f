import type { Settings } from "../settings.js";

/** A file of a published model. */
export interface ModelFile {
  /** Name that it gets in the cache. */
  name: string;
  urls: (settings: Settings) => string[];
  sha256?: string;
}

export interface ModelEntry {
  name: string;
  aliases: string[];
  description: string;
  /** Published accuracy of Rendered SST2 and ImageNet zero-shot, percent. */
  published?: { renderedSst2?: number; imagenet?: number; source: string };
  licence: string;
  /** Ships with the package: its path below the package root. */
  bundled?: string;
  files: ModelFile[];
}

const OPENAI = "https://openaipublic.azureedge.net";
const HUB = "https://huggingface.co";

const openaiFile = (sha256: string, file: string): ModelFile => ({
  name: file,
  sha256,
  urls: (s) => [s.openaiMirror, OPENAI].filter((b): b is string => !!b).map((b) => `${b}/clip/models/${sha256}/${file}`),
});
const hubFile = (repo: string, file: string): ModelFile => ({
  name: file,
  urls: (s) => [s.hubMirror, HUB].filter((b): b is string => !!b).map((b) => `${b}/${repo}/resolve/main/${file}`),
});

export const MODELS: readonly ModelEntry[] = [
  {
    name: "tiny",
    aliases: [],
    description: "a toy of 4.7 M parameters that ships with torchclip, trained on generated short reviews and scenes; to try the engine without a download",
    licence: "Apache-2.0",
    bundled: "models/tiny.pt",
    files: [],
  },
  {
    name: "ViT-B/32",
    aliases: ["ViT-B-32", "vit-b-32"],
    description: "OpenAI CLIP ViT-B/32, 151 M parameters, from OpenAI's own file",
    published: { renderedSst2: 58.65, imagenet: 63.3, source: "Radford et al. 2021, table 11" },
    licence: "MIT",
    files: [openaiFile("40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", "ViT-B-32.pt")],
  },
  {
    name: "openai/clip-vit-base-patch32",
    aliases: [],
    description: "the same ViT-B/32 as Hugging Face publishes it (safetensors)",
    licence: "MIT",
    files: ["config.json", "tokenizer.json", "model.safetensors"].map((f) => hubFile("openai/clip-vit-base-patch32", f)),
  },
];

export function findModel(name: string): ModelEntry | undefined {
  const wanted = name.toLowerCase();
  return MODELS.find((m) => m.name.toLowerCase() === wanted || m.aliases.some((a) => a.toLowerCase() === wanted));
}
