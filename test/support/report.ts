import { Dataset, type Sample } from "../../lib/datasets/dataset.js";
import { argmax, computeMetrics } from "../../lib/eval/metrics.js";
import type { RunManifest } from "../../lib/eval/run-manifest.js";
import type { ZeroShotResult } from "../../lib/eval/zero-shot.js";
import { chooseImages } from "../../lib/report/gallery.js";
import { reportHtml } from "../../lib/report/html.js";
import { seededRandom } from "../../lib/util/random.js";

/** Text that must not become markup. */
export const HOSTILE = `</script><img src=x onerror="alert('1')">`;

/** A made-up evaluation of `count` images over these classes. */
export function evaluation(classes: string[], count = 60): { data: Dataset; result: ZeroShotResult } {
  const random = seededRandom(1);
  const image = { data: new Uint8Array(8 * 6 * 3).fill(120), width: 8, height: 6, channels: 3 as const };
  const predictions = Array.from({ length: count }, (_, index) => {
    const label = index % classes.length;
    const raw = classes.map((_, c) => random() + (c === label ? 0.6 : 0));
    const sum = raw.reduce((a, b) => a + b, 0);
    const probabilities = raw.map((x) => x / sum);
    return {
      index,
      name: `${HOSTILE}${index}.png`,
      label,
      predicted: argmax(probabilities),
      cosines: probabilities,
      probabilities,
    };
  });
  const metrics = computeMetrics(predictions, classes);
  const prompts = { templates: [`a photo of ${HOSTILE} {}`], source: "test" };
  const samples = predictions.map((p) => ({ read: () => image, label: p.label, name: p.name }));
  const data = new Dataset({ name: HOSTILE, split: HOSTILE, classes, samples });
  const times = { read: 0, decode: 0, resize: 0, forward: 0, post: 0, total: 2 };
  const skipped = [{ index: 99, name: HOSTILE, code: "E_IMAGE_DECODE", message: HOSTILE }];
  return { data, result: { prompts, classNames: classes, predictions, skipped, metrics, times } };
}

/** A data set with another name, or other images. */
export function changed(data: Dataset, changes: { name?: string; read?: Sample["read"] }): Dataset {
  const { read } = changes;
  const samples = Array.from(data, (sample) => (read ? { ...sample, read } : sample));
  return new Dataset({ name: changes.name ?? data.name, split: data.split, classes: data.classes, samples });
}

/** The manifest of that evaluation, as far as pages show it. */
export const manifest = {
  model: { name: HOSTILE, weights: { file: HOSTILE } },
  device: "cpu",
  precision: "fp32",
  preprocessing: { exifOrientation: "ignored" },
  dataset: { split: "test" },
  counts: { images: 60, evaluated: 60, skipped: 0 },
  seconds: { total: 2 },
} as unknown as RunManifest;

/** The report page of an evaluation. */
export async function page(classes: string[], count?: number): Promise<string> {
  const { data, result } = evaluation(classes, count);
  const shown = chooseImages(result, result.predictions.slice(0, 5));
  return reportHtml({ data, result, manifest, examplePng: Buffer.from("png"), exampleText: HOSTILE, shown });
}

/** Whether one of a page's own font files covers a character. */
export function carries(html: string, char: string): boolean {
  const point = char.codePointAt(0)!;
  const ranges = [...html.matchAll(/unicode-range: ([^;]+);/g)].flatMap((m) => m[1].split(","));
  return ranges.some((range) => {
    const [first, last] = range.slice(2).split("-");
    return parseInt(first, 16) <= point && point <= parseInt(last, 16);
  });
}
