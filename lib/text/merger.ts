/**
 * Position in the low bits of an entry of the queue, rank above them: entries sort by rank, then from left to
 * right.
 */
const POSITIONS = 2 ** 26;
const NONE = -1;

/**
 * The merges of byte-pair encoding. A word of n letters takes n log n steps: pairs wait in a queue by their
 * rank, so that nothing is searched (a word of 128,000 letters would take minutes otherwise).
 */
export class Merger {
  private readonly ranks: Map<string, number>;

  /** Pairs of tokens, the first merge first: "a b" or ["a", "b"]. */
  constructor(merges: readonly (string | [string, string])[]) {
    this.ranks = new Map(
      merges.map((pair, rank) => [typeof pair === "string" ? pair : `${pair[0]} ${pair[1]}`, rank]),
    );
  }

  /**
   * Joins the letters of a word; its last token gets the end of a word. As the reference: of all pairs the
   * one with the lowest rank is joined wherever it occurs, from left to right, then the next one is looked
   * for.
   */
  merge(letters: readonly string[]): string[] {
    const word = new Word(letters, this.ranks);
    for (let rank = word.lowestRank(); rank !== undefined; rank = word.lowestRank()) word.join(rank);
    return word.tokens();
  }
}

/** A word's tokens as a linked list, and the pairs that can be joined as a heap. */
class Word {
  private readonly token: string[];
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  /**
   * Rank of the pair that begins at each token; NONE where there is none, or where the token was joined to
   * another.
   */
  private readonly rank: Int32Array;
  private readonly queue: number[] = [];

  constructor(
    letters: readonly string[],
    private readonly ranks: Map<string, number>,
  ) {
    const count = letters.length;
    if (count >= POSITIONS) throw new RangeError(`a word of ${count} letters`);
    this.token = letters.map((letter, i) => (i + 1 < count ? letter : `${letter}</w>`));
    this.next = Int32Array.from(letters, (_, i) => (i + 1 < count ? i + 1 : NONE));
    this.previous = Int32Array.from(letters, (_, i) => i - 1);
    this.rank = new Int32Array(count).fill(NONE);
    for (let i = 0; i < count; i++) this.enqueue(i);
  }

  lowestRank(): number | undefined {
    for (let least = this.queue[0]; least !== undefined; least = this.queue[0]) {
      const rank = Math.floor(least / POSITIONS);
      if (this.rank[least % POSITIONS] === rank) return rank;
      removeLeast(this.queue); // one of its tokens was joined since
    }
    return undefined;
  }

  /** Joins every pair of a rank. Pairs that come about are looked at after that, as the reference does it. */
  join(rank: number): void {
    const changed: number[] = [];
    for (let least = this.queue[0]; least !== undefined; least = this.queue[0]) {
      if (Math.floor(least / POSITIONS) !== rank) break;
      removeLeast(this.queue);
      const left = least % POSITIONS;
      if (this.rank[left] === rank) this.joinPair(left, changed);
    }
    for (const position of changed) this.enqueue(position);
  }

  /** Joins a token with the next one, and adds the places where a new pair may begin to `changed`. */
  private joinPair(left: number, changed: number[]): void {
    const right = this.next[left] ?? NONE;
    const after = this.next[right] ?? NONE;
    const before = this.previous[left] ?? NONE;
    this.token[left] = this.at(left) + this.at(right);
    this.next[left] = after;
    this.rank[left] = NONE;
    this.rank[right] = NONE;
    if (after !== NONE) this.previous[after] = left;
    if (before !== NONE) {
      this.rank[before] = NONE;
      changed.push(before);
    }
    changed.push(left);
  }

  private at(position: number): string {
    return this.token[position] ?? "";
  }

  tokens(): string[] {
    const found: string[] = [];
    for (let i = 0; i !== NONE; i = this.next[i] ?? NONE) found.push(this.at(i));
    return found;
  }

  /** Puts the pair that begins at a token into the queue, if there is one that can be joined. */
  private enqueue(position: number): void {
    const right = this.next[position] ?? NONE;
    if (right === NONE) return;
    const rank = this.ranks.get(`${this.at(position)} ${this.at(right)}`);
    if (rank === undefined || this.rank[position] === rank) return;
    this.rank[position] = rank;
    push(this.queue, rank * POSITIONS + position);
  }
}

/** Adds to a binary heap whose first entry is the least. */
function push(heap: number[], value: number): void {
  let at = heap.length;
  heap.push(value);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent];
    if (above === undefined || above <= value) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = value;
}

/** Removes the least entry, which is the first. */
function removeLeast(heap: number[]): void {
  const value = heap.pop();
  const { length } = heap;
  if (value === undefined || length === 0) return;
  let at = 0;
  for (let child = 1; child < length; child = 2 * at + 1) {
    const left = heap[child] ?? Infinity;
    const right = heap[child + 1] ?? Infinity;
    const least = Math.min(left, right);
    if (least >= value) break;
    heap[at] = least;
    at = right < left ? child + 1 : child;
  }
  heap[at] = value;
}
