/** Milliseconds of the last 1,024 calls; 0 before the first. */
export interface Durations {
  p50: number;
  p99: number;
  max: number;
}

/** What a lane of a Batcher did since it was made. */
export interface LaneMetrics {
  /** Calls that wait for a batch. */
  queued: number;
  /** Calls whose batch is in work. */
  running: number;
  /** Calls that got an embedding. */
  done: number;
  /** Calls that got an error of their own or of their batch. */
  failed: number;
  /** Calls that were refused with E_BUSY. */
  refused: number;
  /** Calls whose signal fired. */
  aborted: number;
  /** Batches that were started. */
  batches: number;
  /** Calls in a batch: the mean and the largest of all batches. */
  batchSizes: { mean: number; largest: number };
  /** Time until a call's batch was started. */
  waits: Durations;
  /** Time until a call was answered with an embedding. */
  latencies: Durations;
}

/** The kinds of calls of a Batcher. */
export type LaneName = "images" | "texts";

/** Where the time of a batch goes; texts have "forward" alone. */
export type BatchStage = "read" | "decode" | "resize" | "forward";

/** What a Batcher tells while it works, for histograms of a monitoring system. Neither function may throw. */
export interface BatchObserver {
  /** A batch was started: milliseconds that each of its calls waited. */
  onBatch: (lane: LaneName, waits: readonly number[]) => void;
  /**
   * Seconds that a batch spent in a stage. Those of "read", "decode" and "resize" are added up over its
   * images, which are decoded at once; "forward" is the time of its turns at the model.
   */
  onStage: (lane: LaneName, stage: BatchStage, seconds: number) => void;
}

const KEPT = 1024;

/** The last durations, in a ring. */
export class DurationLog {
  private readonly kept = new Float64Array(KEPT);
  private count = 0;

  add(milliseconds: number): void {
    this.kept[this.count++ % KEPT] = milliseconds;
  }

  summary(): Durations {
    const sorted = this.kept.slice(0, Math.min(this.count, KEPT)).sort();
    const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
    return { p50: at(0.5), p99: at(0.99), max: at(1) };
  }
}
