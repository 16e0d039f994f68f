import { createClassifier, type Classifier, type ClassifierOptions } from "../clip/classifier.js";
import type { ServedModel } from "./model.js";

/** Labels and prompts whose embeddings are kept for the next request, of a model. */
const KEPT = 16;

/** What names the classes of a classifier. */
export interface Labels extends Pick<ClassifierOptions, "templates" | "multiLabel" | "negativeTemplates"> {
  labels: readonly string[];
}

/** Classifiers of the labels that were asked for last: clients ask for the same ones again. */
export class Classifiers {
  private readonly kept = new Map<string, Promise<Classifier>>();

  /** The classifier of these labels by this model. Rejects with E_ARGUMENT for labels that do not fit. */
  async get(model: ServedModel, labels: Labels): Promise<Classifier> {
    const { labels: names, templates, multiLabel, negativeTemplates } = labels;
    const key = JSON.stringify([model.name, names, templates, multiLabel, negativeTemplates]);
    const known = this.kept.get(key);
    const classifier = known ?? make(model, labels);
    this.kept.delete(key); // and in again: the map's order is that of use
    this.kept.set(key, classifier);
    if (this.kept.size > KEPT) {
      const [oldest] = this.kept.keys();
      this.kept.delete(oldest);
    }
    try {
      return await classifier;
    } catch (error) {
      this.kept.delete(key);
      throw error;
    }
  }
}

/** Its signal is not the request's: another request may be waiting for the same classifier. */
function make(model: ServedModel, { labels, ...options }: Labels): Promise<Classifier> {
  const prompts = labels.length * (countOf(options.templates) + countOf(options.negativeTemplates ?? []));
  return model.withRoom(prompts, () => createClassifier(model.classifierModel(), labels, options));
}

function countOf(templates: string | readonly string[] = ""): number {
  return typeof templates === "string" ? 1 : templates.length;
}
