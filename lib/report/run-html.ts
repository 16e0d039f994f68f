import { encode } from "html-entities";
import type { Dataset } from "../datasets/dataset.js";
import type { RetrievalManifest, RunManifest } from "../eval/run-manifest.js";
import type { ZeroShotResult } from "../eval/zero-shot.js";

/** An evaluation, as far as pages say how it was run. */
export interface EvaluatedRun {
  data: Dataset;
  result: ZeroShotResult;
  manifest: RunManifest;
}

/** How the evaluation was run, in a line. */
export function runHtml({ data, result, manifest }: EvaluatedRun): string {
  const prompts = result.prompts.templates.map((template) => `“${encode(template)}”`).join(", ");
  const method = encode(result.method ?? "Zero-shot");
  return [
    `${method}, split ${encode(data.split)}, ${result.metrics.count} images, ${data.classes.length} classes`,
    `${encode(manifest.device)}, ${encode(manifest.precision)}`,
    ...(prompts ? [`prompts ${prompts}`] : []),
  ].join(" · ");
}

/** The manifest of a run, folded up. */
export function manifestHtml(manifest: RunManifest | RetrievalManifest): string {
  const text = encode(JSON.stringify(manifest, null, 2));
  return `<details><summary>Manifest of the run</summary><pre>${text}</pre></details>`;
}
