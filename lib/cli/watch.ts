import { watch, type FSWatcher } from "node:fs";
import { stat } from "node:fs/promises";
import { extname } from "node:path";
import { cannotRead, TorchclipError, toTorchclipError } from "../errors.js";
import { IMAGE_NAME } from "../images/image-names.js";
import { note } from "./io.js";

/** Milliseconds without a change after which a folder counts as at rest: a copy that runs is not read half. */
const AT_REST = 1000;

/** Tells when something below a folder has changed. */
export class FolderWatch {
  private hasChanged = false;
  private failure: unknown;
  private wake: (() => void) | undefined;
  private timer: NodeJS.Timeout | undefined;

  private constructor(
    private readonly folder: string,
    private readonly watcher: FSWatcher,
    private readonly signal: AbortSignal,
  ) {
    watcher.on("change", (_event, name) => {
      if (isOfImages(String(name))) this.later();
    });
    watcher.on("error", (error) => {
      this.failure = error;
      this.wake?.();
    });
    signal.addEventListener("abort", () => this.wake?.(), { once: true });
  }

  /** Watches from now on, so that what changes during the first pass is not missed. */
  static async open(folder: string | undefined, signal: AbortSignal): Promise<FolderWatch> {
    const found =
      folder === undefined
        ? undefined
        : await stat(folder).catch((cause: unknown) => {
            throw cannotRead("E_DATASET_NOT_FOUND", folder, cause);
          });
    if (folder === undefined || !found?.isDirectory())
      throw new TorchclipError("E_ARGUMENT", "--watch needs a folder of images", { subject: "watch" });
    try {
      return new FolderWatch(folder, watch(folder, { recursive: true }), signal);
    } catch (error) {
      throw toTorchclipError(error, "E_READ", { subject: folder });
    }
  }

  /** True when something changed and the folder is at rest again; false after the signal. */
  async changed(): Promise<boolean> {
    if (!this.hasChanged && !this.signal.aborted) note(`Watching ${this.folder}; Ctrl-C ends.`);
    while (!this.hasChanged && !this.signal.aborted && this.failure === undefined) {
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    if (this.failure !== undefined) throw toTorchclipError(this.failure, "E_READ", { subject: this.folder });
    this.hasChanged = false;
    return !this.signal.aborted;
  }

  close(): void {
    clearTimeout(this.timer);
    this.watcher.close();
  }

  private later(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.hasChanged = true;
      this.wake?.();
    }, AT_REST);
  }
}

/**
 * Whether a change may be one of images: of an image file, or of what has no ending, as folders that are
 * moved. What `embed` itself writes into the folder has others.
 */
function isOfImages(name: string): boolean {
  return IMAGE_NAME.test(name) || extname(name) === "";
}
