/**
 * Enough for the descriptions of 60,000 tensors, ten times as many as the largest published checkpoint has.
 */
const MOST_BYTES = 64 << 20;
const BASE_BYTES = 64 << 10;
/** No value of an honest file takes more memory than this for each of its bytes. */
const BYTES_PER_BYTE = 512;

/**
 * What a reader may allocate for what a file describes. One byte of a file can ask for an object of 200
 * bytes, or for a name that is built of all names around it: every reader takes the bytes from here before it
 * allocates.
 */
export class Budget {
  private left: number;

  /** `fileBytes`: the size of the description, without the tensors' data. `error` makes what is thrown. */
  constructor(
    fileBytes: number,
    private readonly error: (why: string) => Error,
  ) {
    this.left = Math.min(MOST_BYTES, BASE_BYTES + BYTES_PER_BYTE * fileBytes);
  }

  take(bytes: number): void {
    this.left -= bytes;
    if (this.left < 0) throw this.error("it describes more objects than weights need");
  }
}

/** Approximate sizes in V8's heap. */
export const SLOT_BYTES = 8;
export const STRING_BYTES = 24;
export const OBJECT_BYTES = 64;
export const MAP_BYTES = 200;
export const MAP_ENTRY_BYTES = 40;
