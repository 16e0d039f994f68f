import { TorchclipError } from "../errors.js";
import type { OptionCheck } from "../options.js";
import { IMAGE_FORMATS, type ImageLimits, type ImageSources } from "./types.js";

/** Milliseconds that setTimeout takes. */
export const LONGEST_TIMER = 0x7fffffff;

/** Limits with their defaults filled in. */
export type CheckedLimits = Required<Omit<ImageLimits, "sources">> & { sources: Required<ImageSources> };

export const DEFAULT_LIMITS: CheckedLimits = {
  // Photographs have at most about this many pixels; decoded they take 300 MB.
  maxPixels: 100_000_000,
  maxBytes: 256 << 20,
  decodeTimeout: 10_000,
  fetchTimeout: 10_000,
  formats: IMAGE_FORMATS,
  sources: { file: true, url: true, allowPrivate: false },
};

const atLeastOne: OptionCheck = (value) =>
  typeof value === "number" && value >= 1 ? undefined : "a number of at least 1";

/** What each option must be; undefined where a value is right. */
export const LIMIT_CHECKS: Record<keyof ImageLimits, OptionCheck> = {
  maxPixels: atLeastOne,
  maxBytes: atLeastOne,
  decodeTimeout: atLeastOne,
  fetchTimeout: atLeastOne,
  formats: checkFormats,
  sources: checkSources,
};

function checkFormats(value: unknown): string | undefined {
  const known: readonly unknown[] = IMAGE_FORMATS;
  return Array.isArray(value) && value.every((format) => known.includes(format))
    ? undefined
    : `a list of ${IMAGE_FORMATS.join(", ")}`;
}

function checkSources(value: unknown): string | undefined {
  const wanted = "{ file, url, allowPrivate }, each true or false";
  if (typeof value !== "object" || value === null) return wanted;
  const names = Object.keys(DEFAULT_LIMITS.sources);
  return Object.entries(value).every(
    ([name, on]) => names.includes(name) && (on === undefined || typeof on === "boolean"),
  )
    ? undefined
    : wanted;
}

/**
 * The limits in force: those of the call before those of the model before the defaults; `sources` by its
 * parts.
 */
export function mergeLimits(call: ImageLimits, model: CheckedLimits = DEFAULT_LIMITS): CheckedLimits {
  return {
    maxPixels: call.maxPixels ?? model.maxPixels,
    maxBytes: call.maxBytes ?? model.maxBytes,
    decodeTimeout: call.decodeTimeout ?? model.decodeTimeout,
    fetchTimeout: call.fetchTimeout ?? model.fetchTimeout,
    formats: call.formats ?? model.formats,
    sources: {
      file: call.sources?.file ?? model.sources.file,
      url: call.sources?.url ?? model.sources.url,
      allowPrivate: call.sources?.allowPrivate ?? model.sources.allowPrivate,
    },
  };
}

/** Throws E_IMAGE_TOO_LARGE where a header tells of too many pixels. */
export function checkPixels(name: string, width: number, height: number, maxPixels: number): void {
  if (width * height <= maxPixels) return;
  throw new TorchclipError(
    "E_IMAGE_TOO_LARGE",
    `${name}: ${width} × ${height} pixels are more than the limit of ${maxPixels}, ` +
      "which bounds the memory that decoding takes; the option maxPixels raises it",
    { subject: name },
  );
}

/** Throws E_IMAGE_TOO_LARGE where a file has, or came to, too many bytes. */
export function checkBytes(name: string, bytes: number, maxBytes: number): void {
  if (bytes <= maxBytes) return;
  throw new TorchclipError(
    "E_IMAGE_TOO_LARGE",
    `${name}: it has more bytes than the limit of ${maxBytes}; the option maxBytes raises it`,
    { subject: name },
  );
}
