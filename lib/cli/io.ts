import { Bar, Presets } from "cli-progress";
import { TorchclipError } from "../errors.js";

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

/** A progress bar on a terminal; elsewhere nothing. */
export function progressBar(what: string): { update: (done: number, total: number | undefined) => void; stop: () => void } {
  let bar: Bar | undefined;
  return {
    update(done, total) {
      if (!process.stderr.isTTY || !total) return;
      if (!bar) {
        bar = new Bar(
          { stream: process.stderr, format: `${what} [{bar}] {percentage}% | {value}/{total} | {eta_formatted} left`, hideCursor: true },
          Presets.rect,
        );
        bar.start(total, done);
      }
      bar.setTotal(total);
      bar.update(done);
    },
    stop() {
      bar?.stop();
      bar = undefined;
    },
  };
}

/** 0 done, 1 failed, 2 wrong usage, 130 interrupted. */
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
