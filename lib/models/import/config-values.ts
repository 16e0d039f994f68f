import { isObject, type JsonObject } from "../../util/untrusted.js";
import { unsupportedField } from "./fields.js";

/** Values of the configs that lie beside weights; what is missing, or null, is undefined. */

/** An object; an empty one where the value is none. */
export function objectOf(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}

export function numberOf(value: unknown): number | undefined {
  return isFiniteNumber(value) ? value : undefined;
}

export function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** Three finite numbers: one for each channel. */
export function channelsOf(value: unknown): number[] | undefined {
  if (!Array.isArray(value) || value.length !== 3) return undefined;
  const items: readonly unknown[] = value;
  return items.every(isFiniteNumber) ? [...items] : undefined;
}

function isFiniteNumber(value: unknown): value is number {
  return Number.isFinite(value);
}

/** An object without the fields that are not set. */
export function defined<T extends object>(fields: T): T {
  const set = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(set) as T;
}

/** The entry of `values` that a config's field names. Throws E_MODEL_UNSUPPORTED for any other name. */
export function oneOf<T>(
  config: JsonObject,
  field: string,
  values: Readonly<Record<string, T>>,
  source: string,
): T | undefined {
  const value = config[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string" && Object.hasOwn(values, value)) return values[value];
  throw unsupportedField(source, field, value, `${Object.keys(values).join(", ")} are computed`);
}

/** A side in pixels, given as one number or as two equal ones. Throws E_MODEL_UNSUPPORTED for any other. */
export function squareSize(value: unknown, field: string, source: string): number | undefined {
  if (value === undefined || value === null) return undefined;
  const sides: readonly unknown[] = Array.isArray(value) ? value : [value, value];
  const [width, height] = sides;
  if (sides.length === 2 && width === height && isWhole(width) && width > 0) return width;
  throw unsupportedField(source, field, value, "square images alone are computed");
}

function isWhole(value: unknown): value is number {
  return Number.isInteger(value);
}
