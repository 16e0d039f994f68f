import { CharacterMap } from "./charsmap.js";

/** A normaliser of @huggingface/tokenizers, as it is made of tokenizer.json. */
export interface PackageNormalizer {
  config: {
    type?: string;
    precompiled_charsmap?: string | null;
    longest_match?: boolean;
    strip_left?: boolean;
    strip_right?: boolean;
  };
  normalizers?: (PackageNormalizer | null)[];
  normalize(text: string): string;
}

/**
 * Replaces what the package only approximates, in place. "Precompiled": the package applies NFKC and a list
 * of characters instead of the map, so that U+200D, for one, becomes a space. "Strip": white space is
 * Unicode's, not JavaScript's. "Lowercase": the reference lowers each character alone, so that a final
 * capital sigma does not become a final small one.
 */
export function useOwnNormalizers(normalizer: PackageNormalizer | null): void {
  if (!normalizer) return;
  for (const inner of normalizer.normalizers ?? []) useOwnNormalizers(inner);
  const { type, precompiled_charsmap: charsmap, longest_match: longest } = normalizer.config;
  if (type === "Precompiled") {
    const map = charsmap ? new CharacterMap(charsmap) : undefined;
    normalizer.normalize = (text) => {
      if (!map) return text;
      return longest ? map.normalizeLongest(text) : map.normalizeGraphemes(text);
    };
  }
  if (type === "Strip") {
    const { strip_left: left, strip_right: right } = normalizer.config;
    normalizer.normalize = (text) => {
      const from = left ? text.replace(/^\p{White_Space}+/u, "") : text;
      return right ? from.replace(/\p{White_Space}+$/u, "") : from;
    };
  }
  if (type === "Lowercase") {
    normalizer.normalize = (text) =>
      text.includes("Σ") ? Array.from(text, (c) => c.toLowerCase()).join("") : text.toLowerCase();
  }
}
