import { TorchclipError } from "./errors.js";

/** What an option must be, where the value is wrong; undefined where it is right. */
export type OptionCheck = (value: unknown) => string | undefined;

export const isBoolean: OptionCheck = (value) => (typeof value === "boolean" ? undefined : "true or false");

export const isSignal: OptionCheck = (value) => (value instanceof AbortSignal ? undefined : "an AbortSignal");

export function oneOf(...values: string[]): OptionCheck {
  return (value) =>
    (values as unknown[]).includes(value)
      ? undefined
      : `${values.slice(0, -1).join(", ")} or ${values[values.length - 1]}`;
}

export function wholeIn(least: number, most: number): OptionCheck {
  const wanted =
    most === Infinity ? `a whole number of at least ${least}` : `a whole number in ${least} to ${most}`;
  return (value) =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most ? undefined : wanted;
}

/** Of several methods. */
export const BATCH_SIZE = wholeIn(1, 65536);
export const IS_TRUNCATE = oneOf("error", "end");

const isProbability: OptionCheck = (value) => {
  const fits = typeof value === "number" && value >= 0 && value <= 1;
  return fits ? undefined : "a probability, a number in 0 to 1";
};

/** How predictions are cut, of classifiers by texts and by probes. */
export const RANK_CHECKS: Record<"topK" | "threshold" | "normalize" | "output", OptionCheck> = {
  topK: wholeIn(1, Infinity),
  threshold: isProbability,
  normalize: (value) => (value === true ? undefined : "true: cosines are those of normalised embeddings"),
  output: (value) => (value === "embedding" ? undefined : "embedding: classifiers choose their features"),
};

/**
 * A copy of options in which each was read once and checked, so that a getter cannot give another value
 * later. Options that are undefined are left out; those without a check are copied as they are. Throws
 * E_ARGUMENT, with the option's name as its subject, for a wrong value and for a getter that throws.
 */
export function readOptions<T extends object>(options: T, checks: Partial<Record<keyof T, OptionCheck>>): T {
  const given: unknown = options;
  if (typeof given !== "object" || given === null)
    throw new TorchclipError("E_ARGUMENT", "options must be an object", { subject: "options" });
  const copy: Partial<T> = {};
  for (const name of new Set([...Object.keys(checks), ...Object.keys(options)]) as Set<keyof T & string>) {
    const value = readOption(options, name);
    if (value === undefined) continue;
    const wanted = checks[name]?.(value);
    if (wanted)
      throw new TorchclipError("E_ARGUMENT", `${name} must be ${wanted}, not ${shown(value)}`, {
        subject: name,
      });
    copy[name] = value;
  }
  return copy as T;
}

function readOption<T extends object, K extends keyof T & string>(options: T, name: K): T[K] {
  try {
    return options[name];
  } catch (cause) {
    throw new TorchclipError("E_ARGUMENT", `the option ${name} cannot be read: ${messageOf(cause)}`, {
      subject: name,
      cause,
    });
  }
}

/** The message of what was thrown, which may be anything. */
export function messageOf(thrown: unknown): string {
  return (thrown as Partial<Error> | null | undefined)?.message ?? String(thrown);
}

/** A value in a message; NaN and Infinity by their names. */
function shown(value: unknown): string {
  if (
    typeof value === "number" ||
    typeof value === "bigint" ||
    typeof value === "function" ||
    typeof value === "symbol"
  )
    return String(value).slice(0, 80);
  try {
    return JSON.stringify(value).slice(0, 80);
  } catch {
    return typeof value;
  }
}
