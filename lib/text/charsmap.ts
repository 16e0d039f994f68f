/**
 * SentencePiece's compiled character map (`precompiled_charsmap`; normalizer.cc of google/sentencepiece): the
 * byte length of a trie, the trie as a Darts-clone double array of 32-bit units, then the replacements, each
 * ended by a NUL.
 */
export class CharacterMap {
  private readonly trie: Uint32Array;
  private readonly replacements: Uint8Array;
  private readonly cache = new Map<string, string | null>();

  constructor(base64: string) {
    const bytes = Buffer.from(base64, "base64");
    const size = bytes.length >= 4 ? bytes.readUInt32LE(0) : 0;
    if (size % 4 !== 0 || size === 0 || 4 + size > bytes.length)
      throw new Error("its precompiled_charsmap is damaged");
    this.trie = Uint32Array.from({ length: size / 4 }, (_, i) => bytes.readUInt32LE(4 + 4 * i));
    this.replacements = bytes.subarray(4 + size);
  }

  /** As the sentencepiece library: at each place the longest entry that matches is replaced. */
  normalizeLongest(text: string): string {
    const bytes = utf8.encode(text);
    const parts: Uint8Array[] = [];
    for (let at = 0; at < bytes.length;) {
      const match = this.matches(bytes, at).at(-1);
      const length = match?.length ?? characterLength(bytes[at] ?? 0);
      parts.push(match ? this.replacement(match.value) : bytes.subarray(at, at + length));
      at += length;
    }
    return Buffer.concat(parts).toString("utf8");
  }

  /**
   * As Hugging Face's tokenizers (normalizers/precompiled.rs): grapheme by grapheme; a short one may be
   * replaced as a whole, else its characters are replaced one by one; of the entries that match, the shortest
   * counts.
   */
  normalizeGraphemes(text: string): string {
    // Every map that is in use maps these characters to themselves: saves the segmenter.
    if (/^[\x20-\x7e]*$/.test(text)) return text;
    let result = "";
    for (const { segment } of graphemes(text)) {
      const whole = utf8.encode(segment).length < 6 ? this.shortest(segment) : null;
      if (whole !== null) {
        result += whole;
        continue;
      }
      for (const character of segment) result += this.shortest(character) ?? character;
    }
    return result;
  }

  private shortest(text: string): string | null {
    const known = this.cache.get(text);
    if (known !== undefined) return known;
    const match = this.matches(utf8.encode(text), 0)[0];
    const found = match ? Buffer.from(this.replacement(match.value)).toString("utf8") : null;
    if (this.cache.size >= CACHE_LIMIT) this.cache.clear();
    this.cache.set(text, found);
    return found;
  }

  /**
   * The entries that match from `at` on, the shortest first: their length in bytes, and where their
   * replacement begins.
   */
  private matches(bytes: Uint8Array, at: number): { length: number; value: number }[] {
    const found: { length: number; value: number }[] = [];
    let node = offsetOf(this.trie[0] ?? 0);
    for (let i = at; i < bytes.length; i++) {
      const byte = bytes[i] ?? 0;
      node ^= byte;
      const unit = this.trie[node] ?? 0;
      if ((unit & 0x800000ff) >>> 0 !== byte) break;
      node ^= offsetOf(unit);
      const leaf = this.trie[node];
      if ((unit >>> 8) & 1 && leaf !== undefined)
        found.push({ length: i + 1 - at, value: leaf & 0x7fffffff });
    }
    return found;
  }

  private replacement(start: number): Uint8Array {
    const end = this.replacements.indexOf(0, start);
    return this.replacements.subarray(start, end < 0 ? undefined : end);
  }
}

const CACHE_LIMIT = 65536;
const utf8 = new TextEncoder();
let segmenter: Intl.Segmenter | undefined;

/** The segmenter is made when a text first needs it: that takes longer than to load a module. */
function graphemes(text: string): Intl.Segments {
  segmenter ??= new Intl.Segmenter("en", { granularity: "grapheme" });
  return segmenter.segment(text);
}

/** Darts-clone: bits 10 to 30 of a unit, 8 bits further up where bit 9 is set. */
function offsetOf(unit: number): number {
  return ((unit >>> 10) << ((unit & 0x200) >>> 6)) >>> 0;
}

/** Bytes of the UTF-8 character that begins with this one. */
function characterLength(first: number): number {
  if (first < 0xc0) return 1;
  if (first < 0xe0) return 2;
  return first < 0xf0 ? 3 : 4;
}
