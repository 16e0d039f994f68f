import type { Command } from "commander";
import { clusterIndex, type Clustering } from "../curate/kmeans.js";
import { readVocabulary } from "../curate/vocabulary.js";
import { topK } from "../embeddings.js";
import { TorchclipError } from "../errors.js";
import { openStored, rowName, type StoredIndex } from "../search/stored.js";
import { csvText } from "../util/csv.js";
import { writeFileWhole } from "../util/files.js";
import { loadForIndex } from "./index-model.js";
import { interruptSignal, note, progressBar } from "./io.js";
import type { ModelFlags } from "./options.js";
import { saveSheet } from "./sheet.js";

interface Flags extends ModelFlags {
  clusters: number;
  iterations?: number;
  seed: number;
  label?: string;
  template: string[];
  out?: string;
  sheet?: string;
  root?: string;
  force?: boolean;
  json?: boolean;
}

/** Images of a cluster that are shown: those nearest to its centroid. */
const SHOWN = 8;
/** Labels of a cluster. */
const LABELS = 3;

/** A cluster as it is printed. */
interface Described {
  cluster: number;
  size: number;
  /** The labels of the vocabulary that are nearest to the centroid, best first, with their cosines. */
  labels: { label: string; cosine: number }[];
  /** Nearest to the centroid first. */
  nearest: { row: number; name: string; score: number }[];
}

/** What `torchclip cluster` does. */
export async function run(file: string, flags: Flags, command: Command): Promise<void> {
  const signal = interruptSignal();
  const { clusters, iterations, seed, out } = flags;
  if (out !== undefined && !/\.(csv|json)$/i.test(out))
    throw new TorchclipError("E_ARGUMENT", `the clusters go into a .csv or .json file, not into ${out}`, {
      subject: "out",
    });
  const stored = await openStored(file, { signal });
  const bar = progressBar("cluster", "rows/s");
  try {
    const options = { clusters, iterations, seed, signal, onProgress: bar.update };
    const found = await clusterIndex(stored.index, options).finally(() => bar.stop());
    const isModelGiven = command.getOptionValueSource("model") === "cli";
    const labels = await labelsOf(stored, found, { ...flags, isModelGiven }, signal);
    const described = describe(stored, found, labels);
    if (out !== undefined) await writeFileWhole(out, outputText(out, stored, found, described));
    if (flags.sheet !== undefined) await saveClusters(flags.sheet, stored, described, flags.root);
    if (flags.json) process.stdout.write(`${JSON.stringify(described, null, 2)}\n`);
    else described.forEach(print);
    for (const saved of [out, flags.sheet]) if (saved !== undefined) note(`Saved: ${saved}`);
  } finally {
    stored.index.close();
  }
}

type LabelFlags = Flags & { isModelGiven: boolean };

/** For each cluster the labels that are nearest to its centroid; none without a vocabulary. */
async function labelsOf(
  stored: StoredIndex,
  { centroids }: Clustering,
  flags: LabelFlags,
  signal: AbortSignal,
): Promise<Described["labels"][]> {
  if (flags.label === undefined) return Array.from({ length: centroids.rows }, () => []);
  const labels = (await readVocabulary(flags.label)).map(({ label }) => label);
  const clip = await loadForIndex(stored, { ...flags, towers: "text" }, signal);
  try {
    const classes = await clip.encodeClasses(labels, flags.template, { signal });
    const { indices, scores, k } = await topK(centroids, classes, LABELS);
    return Array.from({ length: centroids.rows }, (_, cluster) =>
      Array.from({ length: k }, (_, i) => ({
        label: labels[indices[cluster * k + i]],
        cosine: scores[cluster * k + i],
      })),
    );
  } finally {
    await clip.close();
  }
}

/** The clusters with their labels and the images nearest to their centroids. */
function describe(
  stored: StoredIndex,
  { assignments, scores, sizes }: Clustering,
  labels: readonly Described["labels"][],
): Described[] {
  const members = sizes.map((): number[] => []);
  for (const [row, cluster] of assignments.entries()) if (cluster >= 0) members[cluster].push(row);
  return members.map((rows, cluster) => {
    rows.sort((a, b) => scores[b] - scores[a] || a - b);
    const nearest = rows
      .slice(0, SHOWN)
      .map((row) => ({ row, name: rowName(stored, row), score: scores[row] }));
    return { cluster, size: sizes[cluster], labels: labels[cluster], nearest };
  });
}

/** A row for each row of the index (.csv), or the clusters with the assignment of all rows (.json). */
function outputText(out: string, { names, index }: StoredIndex, found: Clustering, all: Described[]): string {
  const { assignments, scores } = found;
  if (/\.json$/i.test(out))
    return `${JSON.stringify({ clusters: all, assignments: Array.from(assignments) })}\n`;
  const rows = Array.from({ length: index.rows }, (_, row) => {
    const cluster = assignments[row];
    const label = all.at(cluster)?.labels.at(0)?.label;
    const named = cluster < 0 ? [undefined, undefined, undefined] : [cluster, scores[row], label];
    return [row, names.at(row), ...named];
  });
  return csvText([["row", "name", "cluster", "score", "label"], ...rows]);
}

async function saveClusters(
  file: string,
  { record }: StoredIndex,
  described: readonly Described[],
  root: string | undefined,
): Promise<void> {
  const found = described.map((each) => ({ query: titleOf(each), hits: each.nearest }));
  await saveSheet(file, found, { root, record, heading: "Clusters" });
}

function titleOf({ cluster, size, labels }: Described): string {
  const names = labels.map(({ label }) => label).join(", ");
  return `cluster ${cluster}${names === "" ? "" : `: ${names}`} (${size} images)`;
}

function print(described: Described): void {
  process.stdout.write(`${titleOf(described)}\n`);
  for (const { score, name } of described.nearest)
    process.stdout.write(`      ${score.toFixed(4)}  ${name}\n`);
}
