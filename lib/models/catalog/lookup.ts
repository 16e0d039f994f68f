import { TorchclipError } from "../../errors.js";
import { parseHubId } from "./hub-id.js";
import { findModel, MODELS, type ModelEntry, type ModelOrigin } from "./registry.js";

/** A name of the registry or a hub id. */
export function namedOrigin(model: string): {
  name: string;
  origin: ModelOrigin | { kind: "hub"; repo: string; revision: string; arch?: string };
} {
  const entry: ModelEntry | undefined = findModel(model);
  if (entry) return { name: entry.name, origin: entry.origin };
  const id = parseHubId(model);
  // "ViT-B/99" is a misspelt name, and "no-such/file.pt" a path, rather than a repository.
  if (id && !/^(ViT|RN\d)|\.(pt|pth|bin|safetensors|onnx)$/i.test(model)) {
    return {
      name: id.revision === "main" ? id.repo : `${id.repo}@${id.revision}`,
      origin: { kind: "hub", ...id },
    };
  }
  const near = MODELS.filter((m) => m.name.toLowerCase().startsWith(model.toLowerCase().slice(0, 5)));
  const names = (near.length ? near : MODELS)
    .slice(0, 12)
    .map((m) => m.name)
    .join(", ");
  throw new TorchclipError(
    "E_MODEL_NOT_FOUND",
    `"${model}" is neither a file, a folder, a hub id (org/name) nor a known model ` +
      `(${names}, …; \`torchclip models\` lists all)`,
    { subject: model },
  );
}
