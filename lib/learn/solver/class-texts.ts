import type { Embeddings } from "../../embeddings.js";
import { TorchclipError } from "../../errors.js";

/**
 * Throws E_ARGUMENT where the texts are not one a class of `dim` floats, the labels not one a row, or a class has
 * no row.
 */
export function checkClassTexts(
  { rows }: Embeddings,
  labels: Int32Array,
  texts: Embeddings,
  dim: number,
  classes: readonly string[],
): void {
  const error = (subject: string, message: string) => new TorchclipError("E_ARGUMENT", message, { subject });
  if (texts.rows !== classes.length || texts.dim !== dim) {
    const wanted = `${classes.length} × ${dim}`;
    throw error("texts", `the texts are ${texts.rows} × ${texts.dim}, and must be ${wanted}: one a class`);
  }
  if (labels.length !== rows) throw error("labels", `${labels.length} labels for ${rows} rows of features`);
  const missing = classes.findIndex((_, id) => !labels.includes(id));
  if (missing >= 0) throw error("labels", `the class ${JSON.stringify(classes[missing])} has no row`);
}
