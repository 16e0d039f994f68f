/** Where a file came from, as the manifest of a run says it. */
export interface Origin {
  /**
   * "download": its publisher's own address. "mirror": a mirror in the place of that address. "cache": a
   * cache that held it already, without a record of where it came from. "root": the folder given as `root`.
   * "path": a file or folder of the user's. "package": it ships with torchclip. "drawn": torchclip drew it on
   * this machine.
   */
  kind: "download" | "mirror" | "cache" | "root" | "path" | "package" | "drawn";
  /** The address, without credentials and query, or the path. */
  location: string;
  /** Whether the file was compared with a hash that is published for it. */
  hashKnown: boolean;
}
