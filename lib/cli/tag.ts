import type { Command } from "commander";
import type { Classifier, Prediction } from "../clip/classifier.js";
import type { Clip } from "../clip/clip.js";
import { blocksOf } from "../curate/blocks.js";
import { readVocabulary, type VocabularyEntry } from "../curate/vocabulary.js";
import { writeSidecar } from "../curate/xmp.js";
import { TorchclipError } from "../errors.js";
import { openStored, rowName, type StoredIndex } from "../search/stored.js";
import { csvText } from "../util/csv.js";
import { writeFileWhole } from "../util/files.js";
import { pathInside } from "../util/inside.js";
import { loadForIndex } from "./index-model.js";
import { interruptSignal, note, progressBar, remark } from "./io.js";
import type { ModelFlags } from "./options.js";
import { imageFolder } from "./sheet.js";

interface Flags extends ModelFlags {
  vocabulary: string;
  template: string[];
  multiLabel?: boolean;
  negativeTemplate?: string[];
  threshold: number;
  topK?: number;
  out?: string;
  xmp?: boolean;
  root?: string;
  force?: boolean;
  json?: boolean;
}

type Tag = Pick<Prediction, "label" | "probability" | "cosine">;

/** The tags of one row of the index. */
interface Tagged {
  row: number;
  name: string;
  /** Best first. */
  tags: Tag[];
}

/** What `torchclip tag` does. */
export async function run(file: string, flags: Flags, command: Command): Promise<void> {
  const signal = interruptSignal();
  checkOut(flags.out);
  const vocabulary = await readVocabulary(flags.vocabulary);
  const stored = await openStored(file, { signal });
  try {
    const root = flags.xmp ? await imageFolder(flags.root, stored.record, "--xmp") : undefined;
    const isModelGiven = command.getOptionValueSource("model") === "cli";
    const clip = await loadForIndex(stored, { ...flags, isModelGiven, towers: "text" }, signal);
    try {
      const tagged = await tagAll(clip, stored, vocabulary, flags, signal);
      await write(tagged, flags, root);
    } finally {
      await clip.close();
    }
  } finally {
    stored.index.close();
  }
}

function checkOut(out: string | undefined): void {
  if (out === undefined || /\.(csv|json)$/i.test(out)) return;
  throw new TorchclipError("E_ARGUMENT", `the tags go into a .csv or .json file, not into ${out}`, {
    subject: "out",
  });
}

async function tagAll(
  clip: Clip,
  stored: StoredIndex,
  vocabulary: readonly VocabularyEntry[],
  flags: Flags,
  signal: AbortSignal,
): Promise<Tagged[]> {
  const { template: templates, multiLabel, negativeTemplate: negativeTemplates } = flags;
  const labels = vocabulary.map(({ label }) => label);
  const classifier = await clip.classifier(labels, { templates, multiLabel, negativeTemplates, signal });
  const bar = progressBar("tag", "rows/s");
  const all: Tagged[] = [];
  try {
    for await (const { start, block } of blocksOf(stored.index, { signal, onProgress: bar.update })) {
      for (const [i, tags] of tagsOf(classifier, block, vocabulary, flags).entries())
        all.push({ row: start + i, name: rowName(stored, start + i), tags });
    }
  } finally {
    bar.stop();
  }
  return all;
}

/** The labels that reach their own threshold, else that of --threshold. */
function tagsOf(
  classifier: Classifier,
  block: Parameters<Classifier["classifyEmbeddings"]>[0],
  vocabulary: readonly VocabularyEntry[],
  { threshold, topK }: Flags,
): Tag[][] {
  const least = (index: number) => vocabulary[index].threshold ?? threshold;
  return classifier.classifyEmbeddings(block, { topK: vocabulary.length }).map((predictions) =>
    predictions
      .filter(({ index, probability }) => probability >= least(index))
      .slice(0, topK)
      .map(({ label, probability, cosine }) => ({ label, probability, cosine })),
  );
}

async function write(tagged: readonly Tagged[], flags: Flags, root: string | undefined): Promise<void> {
  const { out, json } = flags;
  if (out !== undefined) await writeFileWhole(out, outputText(out, tagged));
  if (root !== undefined) await writeSidecars(root, tagged);
  if (json) process.stdout.write(`${JSON.stringify(tagged, null, 2)}\n`);
  else if (out === undefined && root === undefined) tagged.forEach(print);
  if (out !== undefined) note(`Saved: ${out}`);
}

function outputText(out: string, tagged: readonly Tagged[]): string {
  if (/\.json$/i.test(out)) return `${JSON.stringify(tagged)}\n`;
  const rows = tagged.flatMap(({ row, name, tags }) =>
    tags.map(({ label, probability, cosine }) => [row, name, label, probability, cosine]),
  );
  return csvText([["row", "name", "label", "probability", "cosine"], ...rows]);
}

async function writeSidecars(root: string, tagged: readonly Tagged[]): Promise<void> {
  let written = 0;
  let left = 0;
  for (const { name, tags } of tagged) {
    const image = await pathInside(root, name);
    const labels = tags.map(({ label }) => label);
    if (await writeSidecar(image, labels)) written++;
    else left++;
  }
  note(`${written} sidecars were written below ${root}.`);
  if (left > 0) remark(`${left} sidecars of other programs were left as they are.`);
}

function print({ name, tags }: Tagged): void {
  const text = tags.map(({ label, probability }) => `${label} (${probability.toFixed(3)})`).join(", ");
  process.stdout.write(`${name}\n      ${text === "" ? "no label reaches its threshold" : text}\n`);
}
