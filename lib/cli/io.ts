import { readFile } from "node:fs/promises";
import { Bar, Presets } from "cli-progress";
import { TorchclipError, toTorchclipError } from "../errors.js";

/** Ctrl-C: the first one asks the work to stop, a second one ends the process at once. */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  process.on("SIGINT", () => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Error("interrupted"));
  });
  return controller.signal;
}

/** Notes go to standard error; results alone go to standard output. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** A progress bar on a terminal, with the rate in `unit` where one is given; elsewhere nothing. */
export function progressBar(what: string, unit?: string): { update: (done: number, total: number | undefined) => void; stop: () => void } {
  let bar: Bar | undefined;
  let began = 0;
  let first = 0;
  return {
    update(done, total) {
      if (!process.stderr.isTTY || !total) return;
      if (!bar) {
        bar = new Bar(
          {
            stream: process.stderr,
            format: `${what} [{bar}] {percentage}% | {value}/{total} | {eta_formatted} left${unit ? ` | {rate} ${unit}` : ""}`,
            hideCursor: true,
          },
          Presets.rect,
        );
        began = performance.now();
        first = done;
        bar.start(total, done, { rate: "0" });
      }
      bar.setTotal(total);
      bar.update(done, { rate: (((done - first) * 1000) / Math.max(1, performance.now() - began)).toFixed(1) });
    },
    stop() {
      bar?.stop();
      bar = undefined;
    },
  };
}

/** The content of a text file that an option names. */
export async function readText(file: string): Promise<string> {
  return readFile(file, "utf8").catch((error: unknown) => {
    throw toTorchclipError(error, "E_READ", { subject: file });
  });
}

/** The work is done, but some of its items failed. */
export function setFailedItems(): void {
  process.exitCode = 3;
}

/** 0 done, 1 failed, 2 wrong usage, 3 finished with failed items (see setFailedItems), 130 interrupted. */
export function exitCode(error: unknown): number {
  if (error instanceof TorchclipError) {
    if (error.code === "E_ABORTED") return 130;
    if (error.code === "E_ARGUMENT") return 2;
  }
  return 1;
}

export function list(value: string | undefined): string[] | undefined {
  return value
    ?.split(",")
    .map((s) => s.trim())
    .filter(Boolean);
}
