import { OPENAI } from "../../settings.js";
import { PUBLISHED, type Published } from "./published.js";

/** A file on a server, with the hash that it must have. */
export interface ModelFile {
  name: string;
  url: string;
  sha256: string;
  /** The hub's repository that holds the same weights. */
  hub?: string;
}

/** Where a model's weights come from. */
export type ModelOrigin =
  /** Ships with the package: its path below the package root. */
  | { kind: "bundled"; path: string }
  | { kind: "file"; file: ModelFile }
  /**
   * A repository of the Hugging Face hub; `arch` is what its weights are where no config lies beside them.
   */
  | { kind: "hub"; repo: string; arch?: string };

export interface ModelEntry {
  name: string;
  aliases: string[];
  description: string;
  /** Of both towers, rounded to millions where they are many; absent where they are not published. */
  parameters?: number;
  /** Side of the images that the model sees, in pixels. */
  imageSize?: number;
  /** Published zero-shot accuracy on Rendered SST2 and ImageNet, percent. */
  published?: { renderedSst2?: number; imagenet: number; source: string };
  /** As its publisher's model card says; the card is what counts. */
  licence: string;
  origin: ModelOrigin;
}

/** OpenAI's names, their file and its SHA-256 (openai/CLIP, clip/clip.py, `_MODELS`). */
const OPENAI_MODELS: readonly (readonly [name: string, openClip: string, file: string, sha256: string])[] = [
  ["RN50", "RN50", "RN50.pt", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"],
  ["RN101", "RN101", "RN101.pt", "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599"],
  ["RN50x4", "RN50x4", "RN50x4.pt", "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd"],
  ["RN50x16", "RN50x16", "RN50x16.pt", "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa"],
  ["RN50x64", "RN50x64", "RN50x64.pt", "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c"],
  ["ViT-B/32", "ViT-B-32", "ViT-B-32.pt", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"],
  ["ViT-B/16", "ViT-B-16", "ViT-B-16.pt", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"],
  ["ViT-L/14", "ViT-L-14", "ViT-L-14.pt", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"],
  [
    "ViT-L/14@336px",
    "ViT-L-14-336",
    "ViT-L-14-336px.pt",
    "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
  ],
];

function openaiEntry([name, openClip, file, sha256]: (typeof OPENAI_MODELS)[number]): ModelEntry {
  const published = PUBLISHED.find(([other]) => other === `${openClip}/openai`);
  if (!published) throw new Error(`${openClip}/openai is not in the list of published models`);
  const [, hub, , , , millions] = published;
  return {
    name,
    aliases: [...new Set([openClip, `${openClip}/openai`, `${openClip}-quickgelu/openai`])].filter(
      (a) => a !== name,
    ),
    description: `OpenAI CLIP, ${String(millions)} M parameters, from OpenAI's own file`,
    ...sizes(published),
    ...accuracy(published),
    licence: "MIT",
    origin: {
      kind: "file",
      file: { name: file, url: `${OPENAI}/clip/models/${sha256}/${file}`, sha256, hub },
    },
  };
}

const isApple = (repo: string): boolean => /^apple\/|MobileCLIP/.test(repo);

/** Licences that the publishers' model cards name. */
function licenceOf(repo: string): string {
  if (/^laion\/|EVA|eva/.test(repo)) return "MIT";
  if (repo.includes("metaclip")) return "CC-BY-NC-4.0";
  if (isApple(repo)) return "Apple's model licence";
  if (/SigLIP|CLIPA/.test(repo)) return "Apache-2.0";
  return "see its model card";
}

function sizes(entry: Published): Pick<ModelEntry, "parameters" | "imageSize"> {
  const [, , , , , millions, imageSize] = entry;
  return { ...(millions === null ? {} : { parameters: millions * 1e6 }), imageSize };
}

function accuracy(entry: Published): Pick<ModelEntry, "published"> {
  const [, repo, , renderedSst2, imagenet] = entry;
  if (imagenet === null) return {};
  const source = isApple(repo) ? "apple/ml-mobileclip, README.md" : "open_clip, docs/openclip_results.csv";
  return { published: { ...(renderedSst2 === null ? {} : { renderedSst2 }), imagenet, source } };
}

function publishedEntry(entry: Published): ModelEntry {
  const [name, repo, quickGelu] = entry;
  const [arch = "", tag = ""] = name.split("/");
  return {
    name,
    aliases: quickGelu ? [`${arch}-quickgelu/${tag}`] : [],
    description: `${arch} of ${repo}`,
    ...sizes(entry),
    ...accuracy(entry),
    licence: licenceOf(repo),
    origin: { kind: "hub", repo, arch: quickGelu ? `${arch}-quickgelu` : arch },
  };
}

export const MODELS: readonly ModelEntry[] = [
  {
    name: "tiny",
    aliases: [],
    description:
      "a toy of 4.7 M parameters that ships with torchclip, " +
      "trained on generated short reviews and scenes; to try the engine without a download",
    parameters: 4.7e6,
    imageSize: 224,
    licence: "Apache-2.0",
    origin: { kind: "bundled", path: "models/tiny.pt" },
  },
  ...OPENAI_MODELS.map(openaiEntry),
  ...PUBLISHED.filter(([name]) => !name.endsWith("/openai")).map(publishedEntry),
];

/** Whether a SHA-256 is that of weights in the registry (OpenAI's own files). */
export function isPublishedHash(sha256: string): boolean {
  return MODELS.some(({ origin }) => origin.kind === "file" && origin.file.sha256 === sha256);
}

export function findModel(name: string): ModelEntry | undefined {
  const wanted = name.toLowerCase();
  return MODELS.find(
    (m) => m.name.toLowerCase() === wanted || m.aliases.some((a) => a.toLowerCase() === wanted),
  );
}
