import type { ZeroShotResult } from "../eval/zero-shot.js";
import type { ComparedResults } from "../learn/evaluate.js";
import type { LambdaSearch } from "../learn/lambda-search.js";
import type { FeatureKind } from "../learn/probe-file.js";
import type { FitReport, LinearProbe } from "../learn/solver/linear-probe.js";
import { percent } from "../report/text.js";

const short = (value: number) => String(Number(value.toPrecision(3)));

/** How λ was found, a line each. */
export function searchText(search: LambdaSearch | undefined, heldOut: boolean): string[] {
  if (!search) return [];
  const { tried, lambda, accuracy, seconds } = search;
  const on = heldOut ? "a fifth of the training images" : "the validation split";
  const rows = tried.map((one) => {
    const mark = one.lambda === lambda ? "  chosen" : "";
    const loss = `loss ${one.loss.toFixed(4)}`;
    return `  λ ${short(one.lambda).padStart(9)}  ${percent(one.accuracy).padStart(7)}  ${loss}${mark}`;
  });
  return [
    `λ on ${on}: ${short(lambda)} (${percent(accuracy)}), ${tried.length} fits in ${seconds.toFixed(1)} s`,
    ...rows,
  ];
}

/** What the final fit reached. */
export function fitText(
  { lambda, fit, classes, dim }: LinearProbe & { fit: FitReport },
  images: number,
  features: FeatureKind,
): string {
  const { iterations, products, objective, gradient, seconds, converged } = fit;
  const reached = converged ? "" : ", which is not the tolerance";
  const kind = features === "pooled" ? "pooled features" : "features";
  return (
    `Fit: ${images} images × ${dim} ${kind}, ${classes.length} classes, λ ${short(lambda)}; ` +
    `${iterations} iterations (${products} products) in ${seconds.toFixed(2)} s; ` +
    `objective ${objective.toFixed(6)}, largest gradient ${gradient.toExponential(1)}${reached}`
  );
}

/** A classifier beside zero-shot, a line each. */
export function comparisonText(comparison: ComparedResults, result: ZeroShotResult): string[] {
  const { first, second, difference, onlyFirst, onlySecond, p, images } = comparison;
  const method = result.method ?? "Classifier";
  const sign = difference < 0 ? "" : "+";
  return [
    `Zero-shot:  ${percent(first)}`,
    `${method}: ${percent(second)}  (${sign}${(100 * difference).toFixed(2)} points on the same ${images} images)`,
    `McNemar: only zero-shot is right ${onlyFirst} times, only the other ${onlySecond} times; p ${p.toPrecision(2)}`,
  ];
}
