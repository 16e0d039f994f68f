import { TorchclipError } from "../errors.js";
import { DEFAULT_LIMITS } from "../images/limits.js";
import { IMAGE_FORMATS } from "../images/types.js";
import { ProbeClassifier } from "../learn/probe-classifier.js";
import { probeModel, readProbe } from "../learn/probe-file.js";
import type { ServerMetrics } from "./metrics.js";
import { RemoteImages } from "./remote.js";
import { ServedModel } from "./model.js";
import type { ServedModels } from "./models.js";
import type { CheckedServerOptions, ServedProbe } from "./options.js";

/** All but SVG, whose decoder cannot be stopped at a limit of time. */
const SERVED_FORMATS = IMAGE_FORMATS.filter((format) => format !== "svg");

/** The models with their batchers. */
export function makeModels(options: CheckedServerOptions, metrics: ServerMetrics): ServedModel[] {
  const { maxBatch, maxDelay, maxWaiting, autoRotate } = options;
  const { maxPixels, maxBytes, decodeTimeout, fetchTimeout, formats = SERVED_FORMATS } = options;
  const remote = new RemoteImages({
    fetchTimeout: fetchTimeout ?? DEFAULT_LIMITS.fetchTimeout,
    maxBytes: maxBytes ?? options.bodyLimit,
    sources: { file: false, url: options.allowUrls, allowPrivate: options.allowPrivate },
  });
  return Object.entries(options.models).map(
    ([name, clip]) =>
      new ServedModel(name, clip, maxWaiting, remote, {
        maxBatch,
        maxDelay,
        autoRotate,
        maxPixels,
        maxBytes: maxBytes ?? options.bodyLimit,
        decodeTimeout,
        formats,
        observer: metrics.observer(name),
      }),
  );
}

/** Reads the probes and finds the model of each. E_ARGUMENT for a probe of a model that is not served. */
export async function readProbes({ probes }: CheckedServerOptions, models: ServedModels) {
  const served = new Map<string, ServedProbe>();
  for (const [name, file] of Object.entries(probes)) {
    const stored = await readProbe(file);
    const isIts = ({ clip }: ServedModel) => probeModel(clip.info).fingerprint === stored.model.fingerprint;
    const model = models.all.find(isIts);
    if (!model) {
      const message = `${file} was fitted on features of ${stored.model.name}, which is not among the models`;
      throw new TorchclipError("E_ARGUMENT", `${message} of the server`, { subject: file });
    }
    served.set(name, { model, classifier: new ProbeClassifier(model.classifierModel(), stored, file) });
  }
  return served;
}
