import { TorchclipError } from "../errors.js";
import type { ServedModel } from "./model.js";

/** The models of a server by the names that requests give. */
export class ServedModels {
  constructor(
    /** At least one; the first is taken where a request names none. */
    readonly all: readonly ServedModel[],
  ) {}

  /**
   * The model of a request. E_MODEL_NOT_FOUND, with the names that there are, for another one: vectors of a
   * model that was not asked for would be of no use.
   */
  find(name: string | undefined): ServedModel {
    const found = name === undefined ? this.all[0] : this.all.find((model) => isSame(model.name, name));
    if (found) return found;
    const names = this.all.map((model) => model.name).join(", ");
    const shown = (name ?? "").slice(0, 100);
    throw new TorchclipError("E_MODEL_NOT_FOUND", `this server has no model ${shown}; it has ${names}`, {
      subject: "model",
    });
  }

  /** Whether no model takes another item. */
  get areFull(): boolean {
    return this.all.every((model) => model.isFull);
  }
}

/** Whether two names mean the same model: `ViT-B/32`, and `ViT-B-32__openai` as Immich writes it. */
function isSame(served: string, asked: string): boolean {
  return served === asked || plain(served) === plain(asked);
}

function plain(name: string): string {
  return name
    .toLowerCase()
    .replace(/__|\//g, "-")
    .replace(/-openai$/, "");
}
