import type { ModelEntry } from "./registry.js";

/** What a model takes, in bytes. */
export interface ModelSize {
  /**
   * The weights to download. The artifact that is made of them keeps their types and takes as much once more.
   */
  download: number;
  /** `download` is the published file's own length; else it follows from the parameters. */
  exact: boolean;
  /**
   * The resident set of a process that has loaded the model on the CPU, by its parameters: Node.js, libtorch
   * and the packed weights.
   */
  memory: { fp32: number; bf16: number };
}

/**
 * Lengths of OpenAI's own files, by the names that go with the hashes in ./registry.ts. Matrices are fp16,
 * the token embedding is fp32.
 */
const OPENAI_BYTES: Record<string, number | undefined> = {
  "RN50.pt": 255_827_503,
  "RN101.pt": 291_791_292,
  "RN50x4.pt": 421_854_225,
  "RN50x16.pt": 661_125_706,
  "RN50x64.pt": 1_353_500_174,
  "ViT-B-32.pt": 353_976_522,
  "ViT-B-16.pt": 350_837_078,
  "ViT-L-14.pt": 932_768_134,
  "ViT-L-14-336px.pt": 934_088_680,
};
/**
 * Node.js with the addon and libtorch before a model is loaded: docs/performance.md has what was measured.
 */
const PROCESS = 0.2e9;

/**
 * The size of a model of the registry; undefined for the one that ships with the package, and where the
 * parameters are not published. Weights on the hub are taken for fp32, as most of them are; those of a few
 * repositories are fp16 and half as large.
 *
 * @example
 * modelSize(findModel("ViT-L/14")!);
 * // { download: 932768134, exact: true, memory: { fp32: 1.912e9, bf16: 1.056e9 } }
 */
export function modelSize({
  parameters,
  origin,
}: Pick<ModelEntry, "parameters" | "origin">): ModelSize | undefined {
  if (parameters === undefined || origin.kind === "bundled") return undefined;
  const memory = { fp32: PROCESS + 4 * parameters, bf16: PROCESS + 2 * parameters };
  const known = origin.kind === "file" ? OPENAI_BYTES[origin.file.name] : undefined;
  return { download: known ?? 4 * parameters, exact: known !== undefined, memory };
}

/** Bytes as text: "9.5 MB", "354 MB", "1.7 GB". */
export function sizeText(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/** A number of parameters as text: "8.5 M", "151 M"; empty where it is not known. */
export function millions(parameters: number | undefined): string {
  return parameters === undefined ? "" : `${(parameters / 1e6).toFixed(parameters < 1e7 ? 1 : 0)} M`;
}
