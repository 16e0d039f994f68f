import type { ClassifyBatchOptions, ImageInputs, Prediction } from "../clip/classifier.js";
import type { ClassifierModel } from "../clip/options.js";
import type { TorchclipError } from "../errors.js";
import { gatherRows } from "../util/rows.js";
import { RANK_CHECKS, readOptions } from "../options.js";
import { softmax } from "../util/softmax.js";
import { checkProbeModel, type StoredProbe } from "./probe-file.js";

/** A class of one image by a probe. */
export type ProbePrediction = Pick<Prediction, "label" | "index" | "logit" | "probability">;

/** What a probe found in one image of several. */
export interface ProbedImage {
  /** Position among the images that were given. */
  index: number;
  /** Best first; empty where the image failed, and where no class reaches the threshold. */
  predictions: ProbePrediction[];
  /** Why the image has no predictions, with onError "collect". */
  error?: TorchclipError;
}

const DEFAULT_TOP = 5;

/**
 * A probe with the model whose features it takes. The constructor throws E_ARGUMENT, with both names, for a
 * probe of another model.
 *
 * @example
 * const classifier = new ProbeClassifier(clip, await readProbe("pets.probe"), "pets.probe");
 * for await (const { predictions } of classifier.stream(["a.jpg", "b.jpg"])) console.log(predictions[0].label);
 */
export class ProbeClassifier {
  /** @param name What messages call the probe: its file. */
  constructor(
    private readonly clip: ClassifierModel,
    private readonly stored: StoredProbe,
    name: string,
  ) {
    checkProbeModel(name, stored, clip.info);
  }

  /**
   * The classes of each image by falling probability (softmax of the probe's logits), an image at a time as
   * the batches are done. Options and errors are those of `Classifier.stream`.
   */
  async *stream(images: ImageInputs, given: ClassifyBatchOptions = {}): AsyncGenerator<ProbedImage> {
    const { topK, threshold, ...options } = readOptions(given, RANK_CHECKS);
    const { probe, model } = this.stored;
    const output = model.features;
    const normalize = output === "embedding";
    const { length } = probe.classes;
    let index = 0;
    for await (const batch of this.clip.streamImages(images, { ...options, output, normalize })) {
      const good = [...batch.errors.keys()].filter((row) => !batch.errors[row]);
      const logits = await probe.logits(gatherRows(batch, good));
      for (const [row, error] of batch.errors.entries()) {
        const at = good.indexOf(row) * length;
        if (error) yield { index, predictions: [], error };
        else yield { index, predictions: this.rank(logits.subarray(at, at + length), topK, threshold) };
        index++;
      }
    }
  }

  private rank(logits: Float64Array, given: number | undefined, threshold = -1): ProbePrediction[] {
    const { classes } = this.stored.probe;
    const most = given ?? (threshold < 0 ? DEFAULT_TOP : classes.length);
    const probabilities = softmax(logits);
    return [...classes.keys()]
      .filter((index) => probabilities[index] >= threshold)
      .sort((a, b) => probabilities[b] - probabilities[a] || a - b)
      .slice(0, most)
      .map((index) => ({
        label: classes[index],
        index,
        logit: logits[index],
        probability: probabilities[index],
      }));
  }
}
