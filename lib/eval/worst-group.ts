import { TorchclipError } from "../errors.js";
import { wilson, type Interval } from "./metrics.js";

export interface GroupAccuracy {
  group: string;
  count: number;
  accuracy: number;
  /** 95 %, Wilson. */
  interval: Interval;
}

/**
 * The accuracy of each group of images (a region, an income bracket), lowest first: that of the first one is the
 * worst-group accuracy, DataComp's main score of FMoW (`acc_worst_region`), GeoDE (`acc_wg`) and, with top-5 hits,
 * Dollar Street (`acc_top5_wg`). Equal accuracies stand in the order in which the groups occur.
 *
 * @param groups the group of each image
 * @param hits whether each image was right
 * @example
 * const [worst] = groupAccuracies(["Asia", "Africa", "Asia"], [true, false, false]);
 */
export function groupAccuracies(groups: readonly string[], hits: readonly boolean[]): GroupAccuracy[] {
  if (groups.length !== hits.length)
    throw new TorchclipError("E_ARGUMENT", `${groups.length} groups for ${hits.length} images`, {
      subject: "groups",
    });
  const counts = new Map<string, { count: number; right: number }>();
  for (const [i, group] of groups.entries()) {
    const one = counts.get(group) ?? { count: 0, right: 0 };
    counts.set(group, one);
    one.count++;
    if (hits[i]) one.right++;
  }
  return [...counts]
    .map(([group, { count, right }]) => ({
      group,
      count,
      accuracy: right / count,
      interval: wilson(right, count),
    }))
    .sort((a, b) => a.accuracy - b.accuracy);
}
