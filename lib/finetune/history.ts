/** What a step of training gave. */
export interface StepRecord {
  /** From 1. */
  step: number;
  /** Mean over the images of the step, before its update. */
  loss: number;
  /** Share of its images whose class, or text, has the largest logit. */
  accuracy: number;
  learningRate: number;
  /** Norm of the gradient before it was shortened. */
  norm: number;
}

/** What the validation images gave after a step. */
export interface ValidationRecord {
  step: number;
  loss: number;
  accuracy: number;
}

/** How a run went so far. */
export interface History {
  steps: StepRecord[];
  validations: ValidationRecord[];
}

/** Whether a validation is better than another: higher accuracy, or the same with a lower loss. */
export function isBetter(one: ValidationRecord, other: ValidationRecord | undefined): boolean {
  if (!other) return true;
  return one.accuracy === other.accuracy ? one.loss < other.loss : one.accuracy > other.accuracy;
}

/** The best validation, the first of equal ones; undefined where there was none. */
export function bestOf(validations: readonly ValidationRecord[]): ValidationRecord | undefined {
  let best: ValidationRecord | undefined;
  for (const one of validations) if (isBetter(one, best)) best = one;
  return best;
}

/** Validations since the best one. */
export function sinceBest(validations: readonly ValidationRecord[]): number {
  const best = bestOf(validations);
  return best ? validations.length - 1 - validations.indexOf(best) : 0;
}
