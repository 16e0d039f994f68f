// The rows that `torchclip bench` prints.

/** One line of the table. */
export interface Measured {
  device: string;
  precision: string;
  batch: number;
  runner: string;
  imagesPerSecond: number;
  textsPerSecond: number;
  latencyMs: { p50: number; p99: number };
  /** Of the machine's own matrix product in this precision, measured in the same run. */
  gemmShare?: number;
  memoryMb: number;
  eventLoopP99Ms: number;
  /** Beside the first device; none on that device itself. */
  compared?: Comparison | undefined;
}

/** How many times as fast a row is as another one. */
export interface Comparison {
  device: string;
  precision: string;
  images: number;
  texts: number;
}

/** A device, or a precision on it, that cannot be used: `note` says why. */
export interface Missing {
  device: string;
  /** "–": every precision. */
  precision: string;
  batch: 0;
  note: string;
}

export type Row = Measured | Missing;

/**
 * A row beside that of the first measured device with its batch and precision, or with fp32 where that device has no
 * such precision. Undefined for a row of that device, and where there is nothing to compare with.
 */
export function comparison(row: Measured, measured: readonly Row[]): Comparison | undefined {
  const others = measured.filter((other): other is Measured => "imagesPerSecond" in other);
  const first = others.at(0)?.device;
  if (first === row.device) return undefined;
  const comparable = others.filter(({ device, batch }) => device === first && batch === row.batch);
  const of = (precision: string) => comparable.find((other) => other.precision === precision);
  const other = of(row.precision) ?? of("fp32");
  if (!other) return undefined;
  return {
    device: other.device,
    precision: other.precision,
    images: row.imagesPerSecond / other.imagesPerSecond,
    texts: row.textsPerSecond / other.textsPerSecond,
  };
}

function timesOf({ device, precision, images, texts }: Comparison): string {
  return `images ${images.toFixed(1)} × and texts ${texts.toFixed(1)} × ${device} ${precision}`;
}

/** A row as it is printed. */
export function line(row: Measured): string {
  const share = row.gemmShare ? `, ${(100 * row.gemmShare).toFixed(0)} % of the GEMM peak` : "";
  const times = row.compared ? `, ${timesOf(row.compared)}` : "";
  return (
    `${row.device}  ${row.precision.padEnd(4)}  batch ${String(row.batch).padStart(3)}  ` +
    `${row.imagesPerSecond.toFixed(1).padStart(8)} images/s  ` +
    `${row.textsPerSecond.toFixed(0).padStart(6)} texts/s  ` +
    `p50 ${row.latencyMs.p50.toFixed(1)} ms  p99 ${row.latencyMs.p99.toFixed(1)} ms  ` +
    `${row.memoryMb.toFixed(0)} MB  ` +
    `event loop p99 ${row.eventLoopP99Ms.toFixed(1)} ms${share}${times}  [${row.runner}]`
  );
}
