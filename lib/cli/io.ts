import { createRequire } from "node:module";
import type * as CliProgress from "cli-progress";
import type { Bar } from "cli-progress";
import { TorchclipError } from "../errors.js";

const require = createRequire(import.meta.url);

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

export interface ProgressBar {
  /** Nothing is shown where `total` is undefined or 0. `detail` stands at the end of the line. */
  update: (done: number, total: number | undefined, detail?: string) => void;
  stop: () => void;
}

/**
 * A progress bar on a terminal, with the rate in `unit` where one is given; elsewhere nothing. It is redrawn
 * every second, so that one sees the time pass also before the first batch is done.
 */
export function progressBar(what: string, unit?: string): ProgressBar {
  let bar: Bar | undefined;
  let timer: NodeJS.Timeout | undefined;
  let began = 0;
  let first = 0;
  let now = 0;
  let end = 0;
  let changed = 0;
  let shownDetail = "";
  const draw = () => {
    const worked = (changed - began) / 1000;
    const waited = (performance.now() - changed) / 1000;
    const text = progressText({ worked, waited, done: now - first, left: end - now, unit });
    bar?.update(now, { ...text, detail: shownDetail });
  };
  return {
    update(done, total, detail) {
      if (!process.stderr.isTTY || !total) return;
      if (done !== now) changed = performance.now();
      [now, end] = [done, total];
      shownDetail = detail === undefined ? "" : ` | ${detail}`;
      if (!bar) {
        began = changed = performance.now();
        first = done;
        bar = makeBar(what);
        const text = progressText({ worked: 0, waited: 0, done: 0, left: total - done });
        bar.start(total, done, { ...text, detail: shownDetail });
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

/** Loads the package that draws bars, which nothing needs where there is no terminal. */
function makeBar(what: string): Bar {
  const { Bar, Presets } = require("cli-progress") as typeof CliProgress;
  const format = `${what} [{bar}] {percentage}% | {value}/{total} | {time}{rate}{detail}`;
  return new Bar({ stream: process.stderr, format, hideCursor: true }, Presets.rect);
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

/** The items of a list that is separated by commas. */
export function list(value: string): string[];
export function list(value: string | undefined): string[] | undefined;
export function list(value: string | undefined): string[] | undefined {
  return value
    ?.split(",")
    .map((s) => s.trim())
    .filter(Boolean);
}
