/**
 * Where a run keeps its list, its shards and its manifest: a folder, or a prefix of a bucket. Names are
 * relative, with "/" between their parts. A name is there with its whole content or not at all.
 */
export interface Store {
  /** As messages name it. */
  readonly where: string;
  /** The content; undefined where nothing has that name. E_READ. */
  read(name: string): Promise<Buffer | undefined>;
  /** Bytes `at` to `at + length` of the content. E_READ, also where it is shorter. */
  readRange(name: string, at: number, length: number): Promise<Buffer>;
  /** Replaces the content; parts come one after another, so that they need not be one string. E_WRITE. */
  write(name: string, content: string | Uint8Array | AsyncIterable<string>): Promise<void>;
  /** Gives a name its content where nothing has that name; false where something has. E_WRITE. */
  create(name: string, content: string | Uint8Array): Promise<boolean>;
  /** Moves a local file, which `workFolder` holds, to a name. E_WRITE. */
  place(name: string, file: string): Promise<void>;
  /** The names below a folder, in no order, with their bytes. E_READ. */
  list(folder: string): AsyncGenerator<{ name: string; bytes: number }>;
  /** Removes names; those that are not there are no error. E_WRITE. */
  remove(names: readonly string[]): Promise<void>;
  /** A new local folder whose files `place` moves cheaply. The caller removes it. */
  workFolder(): Promise<string>;
  /** Removes what workers that were killed left in work folders. */
  sweep(): Promise<void>;
}
