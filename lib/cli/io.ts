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

/** What one should know beside the result: what was left out, or came from elsewhere. */
export function remark(text: string): void {
  note(`Note: ${text}`);
}

/**
 * A progress bar on a terminal, with the rate in `unit` where one is given; elsewhere nothing. It is redrawn
 * every second, so that one sees the time pass also before the first batch is done.
 */
export function progressBar(
  what: string,
  unit?: string,
): { update: (done: number, total: number | undefined) => void; stop: () => void } {
  let bar: Bar | undefined;
  let timer: NodeJS.Timeout | undefined;
  let began = 0;
  let first = 0;
  let now = 0;
  let end = 0;
  let changed = 0;
  const seconds = (since: number) => (performance.now() - since) / 1000;
  const draw = () =>
    bar?.update(
      now,
      progressText({
        worked: (changed - began) / 1000,
        waited: seconds(changed),
        done: now - first,
        left: end - now,
        unit,
      }),
    );
  return {
    update(done, total) {
      if (!process.stderr.isTTY || !total) return;
      if (done !== now) changed = performance.now();
      [now, end] = [done, total];
      if (!bar) {
        bar = new Bar(
          {
            stream: process.stderr,
            format: `${what} [{bar}] {percentage}% | {value}/{total} | {time}{rate}`,
            hideCursor: true,
          },
          Presets.rect,
        );
        began = changed = performance.now();
        first = done;
        bar.start(total, done, progressText({ worked: 0, waited: 0, done: 0, left: total - done }));
        timer = setInterval(draw, 1000).unref();
      }
      bar.setTotal(total);
      draw();
    },
    stop() {
      clearInterval(timer);
      bar?.stop();
      bar = undefined;
    },
  };
}

/** The work is done, but some of its items failed. */
export function setFailedItems(): void {
  process.exitCode = 3;
}

interface Progress {
  /** Seconds from the beginning to the last thing done, and from there on. */
  worked: number;
  waited: number;
  done: number;
  left: number;
  unit?: string;
}

/**
 * What stands behind the bar: the time that went by until something is done, then the time that is left, and
 * the rate.
 */
export function progressText({ worked, waited, done, left, unit }: Progress): { time: string; rate: string } {
  if (done <= 0) return { time: `${duration(worked + waited)} so far`, rate: "" };
  const rate = done / Math.max(worked, 1e-3);
  return {
    time: `${duration(Math.max(0, left / rate - waited))} left`,
    rate: unit ? ` | ${rate.toFixed(1)} ${unit}` : "",
  };
}

/** "42 s", "3 min 5 s", "2 h 10 min". */
function duration(seconds: number): string {
  const s = Math.ceil(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
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
