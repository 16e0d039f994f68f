import { similarity, type Embeddings } from "../embeddings.js";
import { checkAborted, TorchclipError } from "../errors.js";
import { gatherRows } from "../util/rows.js";
import { chooseLambda } from "./cross-validate.js";
import { accuracyOf, pickRows, type LabelledFeatures } from "./labelled.js";
import type { FeatureKind } from "./probe-file.js";
import { fitLinearProbe } from "./solver/fit.js";
import type { ImageProjection } from "./solver/image-projection.js";
import { argmaxRows } from "./solver/linear-probe.js";
import { fitLpPlusPlus } from "./solver/lp-plus-plus.js";
import { fitProlip } from "./solver/prolip.js";
import { drawShots } from "./split.js";
import { tipAdapter } from "./tip-adapter.js";

/** Methods that learn from a few images of each class. */
export const FEW_SHOT_METHODS = ["probe", "tip-adapter", "lp++", "prolip"] as const;

export type FewShotMethod = (typeof FEW_SHOT_METHODS)[number];

/** What stands for a method in tables, with its paper. */
export const FEW_SHOT_NAMES: Readonly<Record<FewShotMethod, { name: string; paper: string }>> = {
  probe: {
    name: "Linear probe",
    paper: "Radford et al. 2021, arXiv:2103.00020; λ by cross-validation on the shots, 1 with one shot",
  },
  "tip-adapter": {
    name: "Tip-Adapter",
    paper: "Zhang et al. 2022, arXiv:2207.09519; training-free, α 1 and β 5.5",
  },
  "lp++": { name: "LP++", paper: "Huang et al. 2024, arXiv:2404.02285; 300 steps" },
  prolip: {
    name: "ProLIP",
    paper:
      "Fahes et al. 2024, arXiv:2410.05270; 300 steps, λ 1 / shots, learning rate 1e-5, one view of each image",
  },
};

/** Labelled images: their embeddings, and what some methods learn from. */
export interface FewShotFeatures extends LabelledFeatures {
  /** float32 [rows, pooledDim]: pooled features of the same images, for "prolip" and a probe on them. */
  pooled?: Embeddings;
}

/** One method on one draw. */
export interface FewShotRun {
  method: FewShotMethod;
  /** Training images of each class. */
  shots: number;
  seed: number;
  /** Accuracy on the test split. */
  accuracy: number;
  /** Wall time of fit and test. */
  seconds: number;
}

/** A method over the draws of so many shots. */
export interface FewShotSummary {
  method: FewShotMethod;
  shots: number;
  draws: number;
  mean: number;
  /** Standard deviation of the draws (of the sample); 0 for one draw. */
  deviation: number;
}

export interface FewShotOptions {
  classes: readonly string[];
  /** float32 [classes, dim]: embeddings of the classes' prompts. */
  texts: Embeddings;
  /** exp of the model's learned scale: `clip.info.logitScale`. */
  logitScale: number;
  methods: readonly FewShotMethod[];
  /** What the linear probe is fitted on. Default "embedding"; the other methods have no choice. */
  probeFeatures?: FeatureKind;
  /** The model's projection, for "prolip": `readImageProjection(clip.info)`. */
  projection?: ImageProjection;
  shots: readonly number[];
  /** Seeds of the draws; the same seed draws the same images, and more shots contain those of fewer. */
  seeds: readonly number[];
  threads?: number;
  signal?: AbortSignal;
  onRun?: (done: number, total: number) => void;
}

/**
 * The accuracy of each method for each number of shots and each seed: the images are drawn from `train`, as many
 * of each class, and all of `test` is classified. Throws E_ARGUMENT where a class has fewer images than shots.
 */
export async function fewShot(
  train: FewShotFeatures,
  test: FewShotFeatures,
  options: FewShotOptions,
): Promise<FewShotRun[]> {
  const { classes, methods, shots, seeds, signal, onRun } = options;
  const total = methods.length * shots.length * seeds.length;
  const draws = shots.flatMap((count) =>
    seeds.map((seed) => ({ shots: count, seed, rows: drawShots(train.labels, classes, count, seed).kept })),
  );
  const runs: FewShotRun[] = [];
  for (const { rows, ...draw } of draws) {
    const drawn = drawnRows(train, rows);
    for (const method of methods) {
      onRun?.(runs.length, total);
      checkAborted(signal);
      runs.push(await runMethod(method, draw, drawn, test, options));
    }
  }
  onRun?.(total, total);
  return runs;
}

/** One method on one draw. */
export async function runMethod(
  method: FewShotMethod,
  draw: Pick<FewShotRun, "shots" | "seed">,
  drawn: FewShotFeatures,
  test: FewShotFeatures,
  options: FewShotOptions,
): Promise<FewShotRun> {
  const started = performance.now();
  const accuracy = accuracyOf(await predictBy(method, drawn, test, options), test.labels);
  return { method, ...draw, accuracy, seconds: (performance.now() - started) / 1000 };
}

/** The classes that a method predicts, having seen the drawn images. */
async function predictBy(
  method: FewShotMethod,
  drawn: FewShotFeatures,
  test: FewShotFeatures,
  options: FewShotOptions,
): Promise<Int32Array> {
  const { classes, texts, logitScale, threads, signal } = options;
  const { features } = test;
  if (method === "tip-adapter") {
    return argmaxRows(tipAdapter(drawn, texts, features, { logitScale }), classes.length);
  }
  if (method === "lp++") {
    const probe = await fitLpPlusPlus(drawn.features, drawn.labels, texts, { classes, threads, signal });
    return probe.predict(features, threads);
  }
  if (method === "prolip") return predictByProlip(drawn, test, options);
  const isPooled = options.probeFeatures === "pooled";
  const seen = isPooled ? { features: pooledOf(drawn), labels: drawn.labels } : drawn;
  const lambda = (await chooseLambda(seen, { classes, threads, signal }))?.lambda;
  const probe = await fitLinearProbe(seen.features, seen.labels, { classes, lambda, threads, signal });
  return probe.predict(isPooled ? pooledOf(test) : features, threads);
}

async function predictByProlip(
  drawn: FewShotFeatures,
  test: FewShotFeatures,
  { classes, texts, logitScale, threads, signal, projection }: FewShotOptions,
): Promise<Int32Array> {
  if (!projection) {
    const message = "prolip fine-tunes a linear projection of the image encoder, and the model has none";
    throw new TorchclipError("E_ARGUMENT", message, { subject: "projection" });
  }
  const options = { classes, logitScale, threads, signal };
  const tuned = await fitProlip(pooledOf(drawn), drawn.labels, texts, projection, options);
  return argmaxRows(similarity(await tuned.embed(pooledOf(test), threads), texts), classes.length);
}

/** The pooled features, where a method needs them. Throws E_ARGUMENT where there are none. */
function pooledOf({ pooled }: FewShotFeatures): Embeddings {
  if (pooled) return pooled;
  throw new TorchclipError("E_ARGUMENT", "pooled features are needed and not given", { subject: "pooled" });
}

/** Some of the images, in the order of their numbers. */
export function drawnRows(given: FewShotFeatures, rows: readonly number[]): FewShotFeatures {
  const { pooled } = given;
  return { ...pickRows(given, rows), ...(pooled ? { pooled: gatherRows(pooled, rows) } : {}) };
}

/** Mean and deviation over the draws, by method and number of shots. */
export function summarize(runs: readonly FewShotRun[]): FewShotSummary[] {
  const groups = new Map<string, FewShotRun[]>();
  for (const run of runs) {
    const key = `${run.method} ${run.shots}`;
    groups.set(key, [...(groups.get(key) ?? []), run]);
  }
  return [...groups.values()].map((group) => {
    const [{ method, shots }] = group;
    const draws = group.length;
    const mean = group.reduce((sum, { accuracy }) => sum + accuracy, 0) / draws;
    const squares = group.reduce((sum, { accuracy }) => sum + (accuracy - mean) ** 2, 0);
    return { method, shots, draws, mean, deviation: draws > 1 ? Math.sqrt(squares / (draws - 1)) : 0 };
  });
}

/** The method of a name. Throws E_ARGUMENT for another. */
export function fewShotMethod(name: string): FewShotMethod {
  const found = FEW_SHOT_METHODS.find((method) => method === name);
  if (found) return found;
  const message = `"${name}" is no few-shot method: ${FEW_SHOT_METHODS.join(", ")}`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: "methods" });
}
