import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parse } from "csv-parse/sync";
import { TorchclipError } from "../errors.js";
import { compareClassifiers, type Classified, type Comparison } from "../eval/compare.js";
import { percent } from "../report/text.js";
import { readText } from "../util/text-file.js";
import { Untrusted, type JsonObject } from "../util/untrusted.js";

/** The results of an evaluation, as far as a comparison needs them. */
interface SavedRun {
  file: string;
  model: string;
  dataset: string;
  images: Classified[];
}

/** What `torchclip eval --compare` does: two results of the same images, by their results.json. */
export async function compare(
  files: readonly string[],
  flags: { seed: number; json?: boolean },
): Promise<void> {
  if (files.length !== 2)
    throw new TorchclipError("E_ARGUMENT", `--compare takes two results.json, not ${files.length}`, {
      subject: "compare",
    });
  const first = await savedRun(files[0]);
  const second = await savedRun(files[1]);
  const comparison = compareClassifiers(first.images, second.images, flags.seed);
  const text = flags.json
    ? JSON.stringify({ runs: [about(first), about(second)], ...comparison }, null, 2)
    : comparisonText(first, second, comparison);
  process.stdout.write(`${text}\n`);
}

function about({ file, model, dataset }: SavedRun) {
  return { file, model, dataset };
}

/** Reads results.json, or that of a folder, and predictions.csv beside it. */
async function savedRun(given: string): Promise<SavedRun> {
  const isFolder = (await stat(given).catch(() => undefined))?.isDirectory() ?? false;
  const file = isFolder ? join(given, "results.json") : given;
  const check = new Untrusted("E_DATASET_FORMAT", file);
  const results = check.object(check.json(await readText(file, "E_READ")), "it");
  const manifest = check.object(results.manifest, "manifest");
  const nameOf = (what: string) => {
    const part: JsonObject = check.object(manifest[what], `manifest.${what}`);
    return check.text(part.name, `manifest.${what}.name`);
  };
  const images = await readPredictions(join(dirname(file), "predictions.csv"));
  return { file, model: nameOf("model"), dataset: nameOf("dataset"), images };
}

/** The images of a predictions.csv. Throws E_DATASET_FORMAT with the line of what is wrong. */
async function readPredictions(file: string): Promise<Classified[]> {
  const text = await readText(file, "E_READ");
  const check = new Untrusted("E_DATASET_FORMAT", file);
  let rows: Record<string, string | undefined>[];
  try {
    rows = parse(text, { columns: true, skip_empty_lines: true });
  } catch (cause) {
    throw check.error((cause as Error).message, cause);
  }
  return rows.map(({ index, image, true: label, correct }, i) => {
    const isRow = index !== undefined && image !== undefined && label !== undefined;
    if (!isRow || (correct !== "0" && correct !== "1"))
      throw check.error(`row ${i + 1} has no columns index, image, true and correct (0 or 1)`);
    return { image: `${image} (image ${index})`, label, isRight: correct === "1" };
  });
}

const points = (x: number) => `${x < 0 ? "−" : "+"}${Math.abs(100 * x).toFixed(2)}`;

function comparisonText(first: SavedRun, second: SavedRun, found: Comparison): string {
  const { count, difference, interval, mcnemar } = found;
  const { onlyFirst, onlySecond, p } = mcnemar;
  const line = (name: string, { model, dataset, file }: SavedRun, accuracy: number) =>
    `${name} ${percent(accuracy)}  ${model} on ${dataset} (${file})`;
  return [
    line("First: ", first, found.first),
    line("Second:", second, found.second),
    `Difference: ${points(difference)} points (95 % interval ${points(interval.low)} to ` +
      `${points(interval.high)}, paired bootstrap over ${count} images)`,
    `Only the first was right on ${onlyFirst} images, only the second on ${onlySecond}.`,
    `McNemar's exact test: p = ${pText(p)}`,
  ].join("\n");
}

function pText(p: number): string {
  return p < 1e-4 ? p.toExponential(2) : p.toFixed(4);
}
