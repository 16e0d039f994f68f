/**
 * How far each architecture family is from its reference (open_clip or transformers, stored by scripts/goldens/families.py),
 * in each precision, as a Markdown table:
 *
 *     node --import tsx scripts/parity-table.ts
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load, type Precision } from "../lib/index.js";
import { golden } from "../test/support/index.js";
import { picture } from "../test/support/noise.js";
import { writeFamilyModel } from "../test/support/random-model.js";

interface Case {
  name: string;
  files: Record<string, unknown>;
  shapes: [string, number[]][];
  image: number[][];
  ids: number[][];
  text: number[][];
  tokenizer: number;
}

const families = golden<{ pictures: [number, number, number][]; tokenizers: (string | object | null)[]; cases: Case[] }>("families");
const pictures = families.pictures.map(([seed, w, h]) => picture(seed, w, h, 3));
const folder = mkdtempSync(join(tmpdir(), "torchclip-parity-"));
const sentencePiece = families.tokenizers.find((t) => typeof t === "string") as string;

const difference = (mine: Float32Array, theirs: number[][]) => Math.max(...theirs.flat().map((x, i) => Math.abs(x - mine[i])));
const cosine = (mine: Float32Array, theirs: number[][]) =>
  Math.min(
    ...theirs.map(
      (row, r) =>
        row.reduce((sum, x, i) => sum + x * mine[r * row.length + i], 0) /
        Math.hypot(...row) /
        Math.hypot(...mine.subarray(r * row.length, (r + 1) * row.length)),
    ),
  );

process.stdout.write(
  "| family | largest difference in fp32: images | texts | least cosine in bf16: images | texts | in int8: images | texts |\n|---|---|---|---|---|---|---|\n",
);
for (const [i, c] of families.cases.entries()) {
  const at = join(folder, String(i));
  mkdirSync(at);
  for (const [file, content] of Object.entries(c.files)) writeFileSync(join(at, file), JSON.stringify(content));
  const tokenizer = families.tokenizers[c.tokenizer];
  if (tokenizer && typeof tokenizer === "object") writeFileSync(join(at, "tokenizer.json"), JSON.stringify(tokenizer));
  else writeFileSync(join(at, "spiece.model"), Buffer.from(tokenizer ?? sentencePiece, "base64"));
  writeFamilyModel(join(at, "model.safetensors"), c.shapes);
  const cells: string[] = [];
  for (const precision of ["fp32", "bf16", "int8"] as Precision[]) {
    const clip = await load(at, { cacheDir: folder, device: "cpu", precision });
    const tokens = { data: Int32Array.from(c.ids.flat()), rows: c.ids.length, length: c.ids[0].length, truncated: [] };
    const [image, text] = [(await clip.encodeImages(pictures)).data, (await clip.encodeTokens(tokens)).data];
    const { imageRunner, textRunner } = clip.info;
    await clip.close();
    if (precision === "fp32") cells.push(difference(image, c.image).toExponential(1), difference(text, c.text).toExponential(1));
    // TorchScript has no int8: what it would show is fp32.
    else
      for (const [mine, theirs, runner] of [
        [image, c.image, imageRunner],
        [text, c.text, textRunner],
      ] as const)
        cells.push(precision === "int8" && !runner.startsWith("fast") ? "" : cosine(mine, theirs).toFixed(5));
  }
  process.stdout.write(`| ${c.name} | ${cells.join(" | ")} |\n`);
}
rmSync(folder, { recursive: true });
process.exit(0);
