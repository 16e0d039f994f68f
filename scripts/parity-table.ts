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
import { root } from "../test/support/index.js";
import { families, familyImages, familyTokens, writeFamilyFolder } from "../test/support/families.js";

const folder = mkdtempSync(join(tmpdir(), "torchclip-parity-"));

const difference = (mine: Float32Array, theirs: number[][]) =>
  Math.max(...theirs.flat().map((x, i) => Math.abs(x - mine[i])));
const cosine = (mine: Float32Array, theirs: number[][]) =>
  Math.min(
    ...theirs.map(
      (row, r) =>
        row.reduce((sum, x, i) => sum + x * mine[r * row.length + i], 0) /
        Math.hypot(...row) /
        Math.hypot(...mine.subarray(r * row.length, (r + 1) * row.length)),
    ),
  );

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
    if (precision === "fp32")
      cells.push(difference(images, image).toExponential(1), difference(texts, text).toExponential(1));
    // TorchScript has no int8: what it would show is fp32.
    else
      for (const [mine, theirs, runner] of [
        [images, image, imageRunner],
        [texts, text, textRunner],
      ] as const)
        cells.push(precision === "int8" && !isFast(runner) ? "" : cosine(mine, theirs).toFixed(5));
  }
  return cells;
}

async function smallFamilies(): Promise<void> {
  process.stdout.write(
    "| family | largest difference in fp32: images | texts | least cosine in bf16: images | texts | in int8: images | texts |\n|---|---|---|---|---|---|---|\n",
  );
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

async function realSizes(folders: string[]): Promise<void> {
  process.stdout.write(
    "| model | parameters | largest difference in fp32: images | texts | least cosine in bf16: images | texts | memory of the import |\n|---|---|---|---|---|---|---|\n",
  );
  const rest = peak([]);
  for (const from of folders) {
    const reference = JSON.parse(readFileSync(join(from, "reference.json"), "utf8")) as Reference;
    const [c] = families.cases.filter(
      (x) => x.name === (/SigLIP/.test(reference.name) ? "SigLIP (timm)" : "XLM-R text"),
    );
    const tokenizer =
      families.tokenizers[c.tokenizer] ?? families.tokenizers.find((t) => typeof t === "string");
    if (/SigLIP|roberta/.test(reference.name))
      writeFileSync(join(from, "spiece.model"), Buffer.from(tokenizer as string, "base64"));
    // CLIPA's tokenizer is BERT's; texts are compared by their ids, so any will do.
    const vocab = { "[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, a: 4 };
    const bert = {
      added_tokens: [],
      normalizer: null,
      post_processor: null,
      decoder: null,
      pre_tokenizer: { type: "BertPreTokenizer" },
      model: { type: "WordPiece", vocab, unk_token: "[UNK]", continuing_subword_prefix: "##" },
    };
    if (/CLIPA/.test(reference.name)) writeFileSync(join(from, "tokenizer.json"), JSON.stringify(bert));
    const artifact = join(folder, "model.pt");
    const memory = peak([from, artifact]) - rest;
    const tokens = {
      data: Int32Array.from(reference.ids.flat()),
      rows: reference.ids.length,
      length: reference.ids[0].length,
      truncated: [],
    };
    const cells = await compare(artifact, reference.image, reference.text, tokens, ["fp32", "bf16"]);
    const weights = statSync(join(from, "model.safetensors")).size / 2 ** 20;
    process.stdout.write(
      `| ${reference.name} | ${Math.round(reference.parameters / 1e6)} M | ${cells.join(" | ")} ` +
        `| ${(memory / weights).toFixed(2)} × |\n`,
    );
    rmSync(artifact);
  }
}

const folders = process.argv.slice(2);
await (folders.length ? realSizes(folders) : smallFamilies());
rmSync(folder, { recursive: true });
process.exit(0);
