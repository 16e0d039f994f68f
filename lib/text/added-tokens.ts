import type { AddedToken, TokenizerJson } from "./types.js";

/** A piece of a text: an added token, or what lies between two. */
export type Piece = { id: number } | { text: string };

const WORD = /[\p{L}\p{N}_]/u;
const SPACES_BEFORE = /\p{White_Space}+$/u;
const SPACES_AFTER = /^\p{White_Space}+/u;

/** Finds a tokenizer.json's added tokens in a text, as Hugging Face's tokenizers do (AddedVocabulary). */
export class AddedTokens {
  private readonly byContent: Map<string, AddedToken>;
  private readonly pattern: RegExp | undefined;

  /** Those whose `normalized` is as given; `normalize` is then applied to their contents too. */
  constructor(
    json: TokenizerJson,
    normalized: boolean,
    normalize: (text: string) => string = (text) => text,
  ) {
    const all = json.added_tokens ?? [];
    const tokens = all.filter((t) => t.content !== "" && (t.normalized ?? false) === normalized);
    this.byContent = new Map(tokens.map((t) => [normalize(t.content), t] as const).reverse());
    // Of those that begin at the same place, the longest is found.
    const contents = [...this.byContent.keys()].sort((a, b) => b.length - a.length);
    this.pattern = contents.length
      ? new RegExp(contents.map((c) => c.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|"), "gu")
      : undefined;
  }

  split(text: string): Piece[] {
    if (!this.pattern) return text ? [{ text }] : [];
    const pieces: Piece[] = [];
    let done = 0;
    for (const match of text.matchAll(this.pattern)) {
      const token = this.byContent.get(match[0]);
      const start = match.index;
      const end = start + match[0].length;
      if (!token || start < done) continue; // the spaces of the token before reached into it
      const touched = WORD.test(lastCharacter(text, start)) || WORD.test(firstCharacter(text, end));
      if (token.single_word && touched) continue;
      const before = text.slice(done, start);
      const kept = token.lstrip ? before.replace(SPACES_BEFORE, "") : before;
      if (kept) pieces.push({ text: kept });
      pieces.push({ id: token.id });
      done = end + (token.rstrip ? (SPACES_AFTER.exec(text.slice(end))?.[0].length ?? 0) : 0);
    }
    if (done < text.length) pieces.push({ text: text.slice(done) });
    return pieces;
  }
}

const lastCharacter = (text: string, end: number): string =>
  Array.from(text.slice(Math.max(0, end - 2), end)).at(-1) ?? "";
const firstCharacter = (text: string, start: number): string =>
  Array.from(text.slice(start, start + 2))[0] ?? "";
