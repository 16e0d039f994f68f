/**
 * The operations that write files, as the fault scripts run them: in a process of their own, or in this one.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import sharp from "sharp";
import { Dataset, loadDataset } from "../../lib/datasets/index.js";
import { embedImages } from "../../lib/embed/embed.js";
import { imageSource } from "../../lib/embed/sources.js";
import { runManifest, zeroShot } from "../../lib/eval/index.js";
import { removeJournal } from "../../lib/eval/zero-shot.js";
import { finetune, type FinetuneOptions } from "../../lib/finetune/index.js";
import { EmbeddingIndex, load, type Clip } from "../../lib/index.js";
import { importModel } from "../../lib/models/import/import.js";
import { findSource } from "../../lib/models/import/source.js";
import { resolveModel } from "../../lib/models/store/resolve.js";
import { saveResults } from "../../lib/report/save.js";
import { noise } from "../../test/support/noise.js";
import { fakeHub } from "../../test/support/hub.js";
import { root, sha256, tinyModel } from "../../test/support/index.js";
import { tinySafetensors, tinyTokenizer } from "../../test/support/tiny.js";

export interface Operation {
  name: string;
  /** Arguments of Node.js for a process that does it, with its output below `out`. */
  child: (out: string) => string[];
  /** Does it in this process. */
  here: (out: string) => Promise<unknown>;
  /** The files that must have the undisturbed run's bytes, below `out`. */
  results: (out: string) => string[];
  /** Whether what was in the results before is to be there first: then a fault leaves it whole. */
  replaces?: boolean;
}

export interface Operations {
  all: Operation[];
  close: () => Promise<void>;
}

const REPO = "someone/some-clip";
const MODEL_CONFIG = {
  vision_config: { hidden_act: "quick_gelu", num_attention_heads: 4 },
  text_config: { num_attention_heads: 2 },
};
const QUICK: Omit<FinetuneOptions, "folder"> = {
  method: "image",
  steps: 6,
  batchSize: 4,
  checkpointEvery: 1,
  resume: true,
  load: { device: "cpu", threads: 1 },
};
const INDEX = { rows: 20_000, dim: 64 };

/**
 * Makes the inputs in `base` and a mirror on this machine that answers slowly, `pace` ms for each fiftieth.
 */
export async function makeOperations(base: string, images: number, pace: number): Promise<Operations> {
  const input = join(base, "images");
  await makeImages(input, images);
  const weights = join(base, "weights");
  mkdirSync(weights);
  const files = {
    "config.json": Buffer.from(JSON.stringify(MODEL_CONFIG)),
    "tokenizer.json": Buffer.from(await tinyTokenizer()),
    "model.safetensors": await tinySafetensors(),
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(weights, name), content);
  const hub = await fakeHub(REPO, files, { pace });
  const clip = await load(tinyModel, { device: "cpu", threads: 1 });
  const main = join(root, "dist/cli/main.js");
  const all: Operation[] = [
    embedding("embed-npy", ["x.npy", "x.npy.json"], main, input, clip),
    embedding("embed-parquet", ["x.parquet"], main, input, clip),
    evaluation(main, input, clip),
    pulling(main, hub.url),
    {
      name: "import",
      child: (out) => [main, "import", weights, "-o", join(out, "model.pt"), "--name", "some"],
      here: async (out) => importModel(await findSource(weights), join(out, "model.pt"), { name: "some" }),
      results: (out) => [join(out, "model.pt")],
    },
    saving(base),
    finetuning(base, input),
  ];
  return {
    all,
    close: async () => {
      hub.close();
      await clip.close();
    },
  };
}

/** A class a folder, so that the same images are for `embed` and `eval`. */
async function makeImages(folder: string, count: number): Promise<void> {
  for (const name of ["red", "blue"]) mkdirSync(join(folder, name), { recursive: true });
  for (let i = 0; i < count; i++) {
    const background = { r: (i * 37) & 255, g: (i * 7) & 255, b: (i * 31) & 255 };
    await sharp({ create: { width: 60, height: 40 + (i % 5), channels: 3, background } })
      .png()
      .toFile(join(folder, i % 2 ? "red" : "blue", `${String(i).padStart(4, "0")}.png`));
  }
  writeFileSync(join(folder, "red", "bad.png"), "not an image");
}

function embedding(name: string, results: string[], main: string, input: string, clip: Clip): Operation {
  return {
    name,
    child: (out) => [
      main,
      "embed",
      input,
      "-m",
      tinyModel,
      "--threads",
      "1",
      "-o",
      join(out, results[0]),
      "-b",
      "4",
    ],
    here: async (out) =>
      embedImages(clip, await imageSource(input), join(out, results[0]), { input, batchSize: 4 }),
    results: (out) => results.map((file) => join(out, file)),
  };
}

function evaluation(main: string, input: string, clip: Clip): Operation {
  return {
    name: "eval",
    child: (out) => [
      main,
      "eval",
      "-m",
      tinyModel,
      "--threads",
      "1",
      "--dataset",
      input,
      "-o",
      out,
      "-b",
      "4",
      "--resume",
      "--example",
      "0",
    ],
    here: async (out) => {
      const data = await loadDataset(input);
      const journal = join(out, "evaluation.journal");
      const result = await zeroShot(clip, data, { batchSize: 4, journal, resume: true });
      await saveResults(
        out,
        data,
        result,
        runManifest(clip, data, result, { seed: 0, batchSize: 4, autoRotate: false }),
        0,
      );
      await removeJournal(journal);
    },
    // results.json and the report hold the seconds that it took.
    results: (out) => ["predictions.csv", "example.png", "grid.png"].map((file) => join(out, file)),
  };
}

function pulling(main: string, mirror: string): Operation {
  return {
    name: "pull",
    child: (out) => [main, "models", "pull", REPO, "--mirror", mirror, "--cache-dir", out],
    here: (out) => resolveModel(REPO, { mirror, cacheDir: out, refresh: true }),
    results: (out) =>
      [...below(join(out, "imports")), ...below(join(out, "hub"))].filter(
        (file) => !/\.(tmp|part|lock)$|hashes\.json$/.test(file),
      ),
  };
}

function saving(base: string): Operation {
  const script = join(base, "save.mjs");
  writeFileSync(
    script,
    `import { EmbeddingIndex } from ${JSON.stringify(join(root, "dist/index.js"))};
     const index = await EmbeddingIndex.open(process.argv[2], { precision: "int8" });
     await index.save(process.argv[3]);`,
  );
  const source = join(base, "source.npy");
  const values = Float32Array.from({ length: INDEX.rows * INDEX.dim }, (_, i) => noise(5, i) / 2 ** 31 - 1);
  const index = EmbeddingIndex.create(INDEX.dim);
  const ready = index.add({ data: values, ...INDEX }).then(() => index.save(source));
  return {
    name: "save",
    child: (out) => [script, source, join(out, "index.npy")],
    here: async (out) => {
      await ready;
      await (await EmbeddingIndex.open(source, { precision: "int8" })).save(join(out, "index.npy"));
    },
    results: (out) => [join(out, "index.npy")],
    replaces: true,
  };
}

/** Training that writes a checkpoint after each step, and goes on from it. */
function finetuning(base: string, input: string): Operation {
  const script = join(base, "finetune.mjs");
  writeFileSync(
    script,
    `import { loadDataset, Dataset } from ${JSON.stringify(join(root, "dist/datasets/index.js"))};
     import { finetune } from ${JSON.stringify(join(root, "dist/finetune/index.js"))};
     const data = await loadDataset(${JSON.stringify(input)});
     const { name, split, classes } = data;
     const samples = [...data].filter((sample) => !sample.name.includes("bad"));
     await finetune(${JSON.stringify(tinyModel)}, new Dataset({ name, split, classes, samples }), {
       ...${JSON.stringify(QUICK)}, folder: process.argv[2] });`,
  );
  return {
    name: "finetune",
    child: (out) => [script, out],
    here: async (out) => {
      const data = await loadDataset(input);
      const { name, split, classes } = data;
      const samples = [...data].filter((sample) => !sample.name.includes("bad"));
      await finetune(tinyModel, new Dataset({ name, split, classes, samples }), { ...QUICK, folder: out });
    },
    results: (out) =>
      [join(out, "model.pt"), ...below(join(out, "transformers"))].filter((file) => !file.endsWith(".tmp")),
  };
}

/** All files below a folder. */
export function below(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
  } catch {
    return [];
  }
}

export type Digest = Partial<Record<string, string>>;

/** The results that are there, by name: their hashes. */
export function digest(operation: Operation, out: string): Digest {
  const files = operation.results(out).filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile());
  return Object.fromEntries(files.map((file) => [relative(out, file), sha256(readFileSync(file))]));
}

export const same = (a: Digest, b: Digest): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Files that a finished operation must not leave behind. */
export const leftovers = (out: string): string[] =>
  below(out).filter((file) => /\.(tmp|part|lock|journal)$|\.partial\/|\.lock\./.test(file));

const OLD = "what was there before";

/** An empty output folder; with the old file where the operation replaces one. */
export function startAnew(operation: Operation, out: string): void {
  mkdirSync(out, { recursive: true });
  for (const name of readdirSync(out)) rmSync(join(out, name), { recursive: true, force: true });
  if (operation.replaces) for (const file of operation.results(out)) writeFileSync(file, OLD);
}

/** What is wrong with the results after a fault: each is whole as before, whole as after, or not there. */
export function damaged(operation: Operation, out: string, wanted: Digest): string[] {
  const old = sha256(Buffer.from(OLD));
  const found = digest(operation, out);
  const wrong = Object.keys(found).filter(
    (file) => found[file] !== wanted[file] && !(operation.replaces && found[file] === old),
  );
  const lost = operation.replaces ? Object.keys(wanted).filter((file) => found[file] === undefined) : [];
  return [...wrong, ...lost];
}
