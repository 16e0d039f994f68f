import type { Clip } from "../clip/clip.js";
import type { EmbedToResult } from "../embed/embed-to.js";
import type { EmbedResult } from "../embed/embed.js";
import type { Changes } from "../embed/previous.js";
import type { RowError } from "../embed/save-npy.js";
import { redactUrl } from "../redact.js";
import { slowestStage } from "../report/text.js";
import { note, remark } from "./io.js";

const MOST_ERRORS = 10;

interface Embedded {
  kind: "images" | "texts";
}

/** What --json prints of a file. */
export function summary(result: EmbedResult, { info }: Clip, out: string) {
  const { precision, device } = info;
  return { ...result, failed: result.errors.length, out, perSecond: perSecond(result), precision, device };
}

/** What --json prints of a database. */
export function summaryDatabase(result: EmbedToResult, { info }: Clip, to: string) {
  const { precision, device } = info;
  const perSecond = result.embedded / result.seconds;
  return { ...result, failed: result.errors.length, to: redactUrl(to), perSecond, precision, device };
}

/** What is printed of a file. */
export function report(result: EmbedResult, { info }: Clip, out: string, { kind }: Embedded): void {
  const { rows, errors, resumed: taken, times, changes } = result;
  const { embedDim, device, precision } = info;
  noteErrors(errors, "row");
  const failed = errors.length > 0 ? `, ${errors.length} of them failed (NaN)` : "";
  const resumed = taken > 0 ? `, ${taken} of them by an earlier run` : "";
  const slowest = kind === "images" ? `; slowest stage: ${slowestStage(times)}` : "";
  if (changes?.anew) remark(`${changes.anew}: all rows were embedded anew.`);
  const changed = changes ? ` (${changesText(changes)})` : "";
  process.stdout.write(
    `${rows} rows of ${embedDim} in ${out}${changed}${failed}${resumed}; ` +
      `${perSecond(result).toFixed(1)} ${kind}/s on ${device}, ${precision}${slowest}\n`,
  );
}

/** What is printed of a database. */
export function reportDatabase(result: EmbedToResult, { info }: Clip, to: string, { kind }: Embedded): void {
  const { items, embedded, existing, renamed, duplicates, removed, errors, seconds } = result;
  noteErrors(errors, "item");
  if (result.pruneNote) remark(`${result.pruneNote}.`);
  const counts = [
    `${embedded} embedded`,
    `${existing} there already${renamed > 0 ? ` (${renamed} renamed)` : ""}`,
    ...(duplicates > 0 ? [`${duplicates} with the content of another`] : []),
    ...(removed > 0 ? [`${removed} rows removed`] : []),
    ...(errors.length > 0 ? [`${errors.length} failed`] : []),
  ];
  process.stdout.write(
    `${items} ${kind} of ${redactUrl(to)}: ${counts.join(", ")}; ` +
      `${(embedded / seconds).toFixed(1)} ${kind}/s on ${info.device}, ${info.precision}\n`,
  );
}

function changesText({ added, changed, renamed, removed, unchanged }: Changes): string {
  const counts = `${added} new, ${changed} changed, ${renamed} renamed, ${removed} removed`;
  return `${counts}, ${unchanged} unchanged`;
}

function perSecond({ rows, resumed, seconds }: EmbedResult): number {
  return (rows - resumed) / seconds;
}

function noteErrors(errors: readonly RowError[], what: string): void {
  for (const { index, code, message } of errors.slice(0, MOST_ERRORS))
    note(`${what} ${index}: ${code}: ${message}`);
  const more = errors.length - MOST_ERRORS;
  if (more > 0) note(`… and ${more} more that could not be read`);
}
