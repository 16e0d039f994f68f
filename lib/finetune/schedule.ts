import type { Recipe } from "./recipes.js";

/**
 * The learning rate of a step: a linear rise over the warm-up, then half a cosine to the least one
 * (Loshchilov and Hutter 2017, arXiv:1608.03983). Without a warm-up these are the values of PyTorch's
 * CosineAnnealingLR with T_max = steps; with one, those of open_clip's cosine_lr.
 *
 * @param step From 0.
 */
export function learningRateAt(
  step: number,
  {
    learningRate,
    leastLearningRate,
    warmup,
    steps,
  }: Pick<Recipe, "learningRate" | "leastLearningRate" | "warmup" | "steps">,
): number {
  if (step < warmup) return (learningRate * (step + 1)) / warmup;
  const done = (step - warmup) / (steps - warmup);
  return leastLearningRate + (learningRate - leastLearningRate) * 0.5 * (1 + Math.cos(Math.PI * done));
}
