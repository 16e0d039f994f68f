import { TorchclipError } from "../errors.js";

/** A question that is answered by choosing some of its candidates, as WinoGAViL's. */
export interface Association {
  /** Of each candidate with the cue. */
  scores: ArrayLike<number>;
  /** The candidates that are right; as many are chosen. */
  answers: readonly number[];
}

export interface JaccardScores {
  /** Mean over all questions. */
  mean: number;
  /** Mean over the questions with a number of candidates: 5, 6, 10 and 12 in WinoGAViL. */
  byCandidates: Map<number, number>;
}

/**
 * WinoGAViL's score (Bitton et al. 2022): as many candidates are chosen as are right, those with the highest scores,
 * and each question scores |chosen ∩ right| / |chosen ∪ right| (scikit-learn's `jaccard_score`). Equal scores are
 * chosen by the lower number.
 *
 * DataComp's main score is the mean over questions with 10 and 12 candidates: `jaccardScores(items.filter(…)).mean`.
 *
 * @example
 * jaccardScores([{ scores: [0.3, 0.1, 0.2, 0.4, 0], answers: [0, 2] }]).mean; // chosen: 3 and 0; 1 / 3
 */
export function jaccardScores(items: readonly Association[]): JaccardScores {
  if (items.length === 0)
    throw new TorchclipError("E_ARGUMENT", "there are no questions", { subject: "items" });
  const byCandidates = new Map<number, number[]>();
  const all = items.map((item, i) => {
    const score = jaccard(item, i);
    const group = byCandidates.get(item.scores.length) ?? [];
    byCandidates.set(item.scores.length, [...group, score]);
    return score;
  });
  return {
    mean: mean(all),
    byCandidates: new Map([...byCandidates].map(([candidates, scores]) => [candidates, mean(scores)])),
  };
}

function jaccard({ scores, answers }: Association, index: number): number {
  const right = new Set(answers);
  const isWithin = answers.every(
    (answer) => Number.isInteger(answer) && answer >= 0 && answer < scores.length,
  );
  if (!isWithin || right.size !== answers.length || right.size === 0) {
    const message = `question ${index} has ${scores.length} candidates and the answers ${answers.join(", ")}`;
    throw new TorchclipError("E_ARGUMENT", message, { index });
  }
  const order = Array.from(scores, (_, i) => i).sort((a, b) => scores[b] - scores[a]);
  const common = order.slice(0, right.size).filter((candidate) => right.has(candidate)).length;
  return common / (2 * right.size - common);
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
