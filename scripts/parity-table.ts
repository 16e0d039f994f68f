/**
 * How far each architecture family is from its reference (open_clip or transformers, stored by scripts/goldens/families.py),
 * in each precision, as a Markdown table:
 *
 *     node --import tsx scripts/parity-table.ts
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load, type Precision } from "../lib/index.js";
import { families, familyPictures, familyTokens, writeFamilyFolder } from "../test/support/families.js";

const folder = mkdtempSync(join(tmpdir(), "torchclip-parity-"));

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
  const at = writeFamilyFolder(c, join(folder, String(i)), true);
  const cells: string[] = [];
  for (const precision of ["fp32", "bf16", "int8"] as Precision[]) {
    const clip = await load(at, { cacheDir: folder, device: "cpu", precision });
    const [image, text] = [(await clip.encodeImages(familyPictures)).data, (await clip.encodeTokens(familyTokens(c))).data];
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
