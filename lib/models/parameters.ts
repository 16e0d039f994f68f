import { readWeights } from "./formats/index.js";
import { elements } from "./formats/types.js";

/** Statistics that batch norms keep beside their parameters. */
const STATISTICS = /(^|\.)(running_mean|running_var|num_batches_tracked)$/;
const INTEGERS = new Set(["I64", "I32", "I16", "I8", "U8", "BOOL"]);

/**
 * Parameters of a model's artifact: the numbers in its tensors of both towers, the logit scale and bias. What
 * is no parameter does not count: integers, as position ids, and the statistics of batch norms. Only the
 * file's directory is read. Throws E_MODEL_CORRUPT, E_MODEL_UNSAFE or E_MODEL_UNSUPPORTED where the file
 * cannot be read as data.
 *
 * @example
 * await countParameters(clip.info.path); // tiny: 4737665
 */
export async function countParameters(artifact: string): Promise<number> {
  const { tensors } = await readWeights(artifact);
  const counted = [...tensors].filter(([name, { dtype }]) => !STATISTICS.test(name) && !INTEGERS.has(dtype));
  return counted.reduce((sum, [, { shape }]) => sum + elements(shape), 0);
}
