import type { Dataset } from "./dataset.js";

export interface DatasetOptions {
  /** Default "test" where the set has splits. "val", "valid" and "validation" mean the same. */
  split?: string;
  /** For a set by name: the folder that holds its publisher's files, unpacked, instead of the download. */
  root?: string;
  /** For a manifest: class names in order of their ids. */
  classes?: string[];
  cacheDir?: string;
  offline?: boolean;
  /**
   * For a set by name: base URL that is asked in place of the publisher's address, whose path it serves. No
   * other is asked.
   */
  mirror?: string;
  /**
   * Ask the publisher's address, too, where the mirror fails. Default false; also TORCHCLIP_MIRROR_FALLBACK.
   */
  mirrorFallback?: boolean;
  signal?: AbortSignal;
  /**
   * Told, a sentence each, where a mirror fails and the publisher's address is asked. Default: a warning of
   * the process.
   */
  onNote?: (text: string) => void;
  onProgress?: (done: number, total: number | undefined) => void;
}

export interface DatasetEntry {
  name: string;
  description: string;
  splits: string;
  open(options: DatasetOptions): Promise<Dataset>;
}
