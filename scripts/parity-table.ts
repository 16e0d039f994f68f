/**
 * How far each architecture family is from its reference (open_clip or transformers, stored by
 * scripts/goldens/families.py), in each precision, as a Markdown table:
 *
 *     node --import tsx scripts/parity-table.ts
 *
 * With folders: how far models of their published size are from theirs, and the memory that importing took
 * (its peak beyond what the program holds at rest, over the size of the weights). The folders are made by
 * `scripts/goldens/families.py folder`; after a build:
 *
 *     node --import tsx scripts/parity-table.ts FOLDER…
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load, type Precision, type Tokens } from "../lib/index.js";
import { isFast } from "../lib/models/runner.js";
import { largestDifference, leastCosine } from "../test/support/compare.js";
import { root } from "../test/support/index.js";
import { families, familyImages, familyTokens, writeFamilyFolder } from "../test/support/families.js";

const folder = mkdtempSync(join(tmpdir(), "torchclip-parity-"));

/**
 * Cells of a model at a path for each precision: largest differences in fp32, least cosines in the others.
 */
async function compare(
  at: string,
  image: number[][],
  text: number[][],
  tokens: Tokens,
  precisions: Precision[],
): Promise<string[]> {
  const cells: string[] = [];
  for (const precision of precisions) {
    const clip = await load(at, { cacheDir: folder, device: "cpu", precision });
    const [images, texts] = [
      (await clip.encodeImages(familyImages)).data,
      (await clip.encodeTokens(tokens)).data,
    ];
    const { imageRunner, textRunner } = clip.info;
    await clip.close();
    for (const [mine, theirs, runner] of [
      [images, image, imageRunner],
      [texts, text, textRunner],
    ] as const) {
      if (precision === "fp32") cells.push(largestDifference(mine, theirs.flat()).toExponential(1));
      // TorchScript has no int8: what it would show is fp32.
      else if (precision === "int8" && !isFast(runner)) cells.push("");
      else cells.push(leastCosine(mine, theirs.flat(), theirs[0].length).toFixed(5));
    }
  }
  return cells;
}

/** The head of a Markdown table with these columns. */
const head = (...columns: string[]) => `| ${columns.join(" | ")} |\n|${"---|".repeat(columns.length)}\n`;
const IN_FP32 = ["largest difference in fp32: images", "texts"];
const IN_BF16 = ["least cosine in bf16: images", "texts"];

async function smallFamilies(): Promise<void> {
  process.stdout.write(head("family", ...IN_FP32, ...IN_BF16, "in int8: images", "texts"));
  for (const [i, c] of families.cases.entries()) {
    const at = writeFamilyFolder(c, join(folder, String(i)), true);
    const cells = await compare(at, c.image, c.text, familyTokens(c), ["fp32", "bf16", "int8"]);
    process.stdout.write(`| ${c.name} | ${cells.join(" | ")} |\n`);
  }
}

/** Megabytes that a command of the product takes at its peak (VmHWM). */
function peak(args: string[]): number {
  const run = spawnSync(
    process.execPath,
    ["--import", "tsx", "--input-type=module", "-e", peakProgram, ...args],
    { encoding: "utf8" },
  );
  if (run.status !== 0) throw new Error(run.stderr);
  return Number(run.stdout.trim().split("\n").at(-1));
}
const peakProgram = `
  import { readFileSync } from "node:fs";
  import { importModel } from "${join(root, "lib/models/import/import.ts")}";
  import { findSource } from "${join(root, "lib/models/import/source.ts")}";
  import { addon } from "${join(root, "lib/addon.ts")}";
  const [, from, to] = process.argv;
  addon().systemInfo();
  if (from) await importModel(await findSource(from), to, {});
  console.log(Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024);
  process.exit(0);`;

interface Reference {
  name: string;
  parameters: number;
  image: number[][];
  ids: number[][];
  text: number[][];
}

/** CLIPA's tokenizer is BERT's; texts are compared by their ids, so any will do. */
const ANY_BERT = {
  added_tokens: [],
  normalizer: null,
  post_processor: null,
  decoder: null,
  pre_tokenizer: { type: "BertPreTokenizer" },
  model: {
    type: "WordPiece",
    vocab: { "[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, a: 4 },
    unk_token: "[UNK]",
    continuing_subword_prefix: "##",
  },
};

/** Writes the tokenizer that a folder of `families.py folder` lacks. */
function writeTokenizer(from: string, name: string): void {
  if (name.includes("CLIPA")) writeFileSync(join(from, "tokenizer.json"), JSON.stringify(ANY_BERT));
  if (!/SigLIP|roberta/.test(name)) return;
  const family = name.includes("SigLIP") ? "SigLIP (timm)" : "XLM-R text";
  const own = families.cases.find((c) => c.name === family)?.tokenizer ?? -1;
  const isText = (tokenizer: unknown): tokenizer is string => typeof tokenizer === "string";
  const sentencePiece = [families.tokenizers[own], ...families.tokenizers].find(isText);
  writeFileSync(join(from, "spiece.model"), Buffer.from(sentencePiece ?? "", "base64"));
}

async function realSizes(folders: string[]): Promise<void> {
  process.stdout.write(head("model", "parameters", ...IN_FP32, ...IN_BF16, "memory of the import"));
  const rest = peak([]);
  for (const from of folders) {
    const reference = JSON.parse(readFileSync(join(from, "reference.json"), "utf8")) as Reference;
    writeTokenizer(from, reference.name);
    const artifact = join(folder, "model.pt");
    const memory = peak([from, artifact]) - rest;
    const tokens = familyTokens(reference);
    const cells = await compare(artifact, reference.image, reference.text, tokens, ["fp32", "bf16"]);
    const weights = statSync(join(from, "model.safetensors")).size / 2 ** 20;
    const parameters = `${Math.round(reference.parameters / 1e6)} M`;
    const row = [reference.name, parameters, ...cells, `${(memory / weights).toFixed(2)} ×`];
    process.stdout.write(`| ${row.join(" | ")} |\n`);
    rmSync(artifact);
  }
}

const folders = process.argv.slice(2);
await (folders.length ? realSizes(folders) : smallFamilies());
rmSync(folder, { recursive: true });
process.exit(0);
