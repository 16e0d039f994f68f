import type { Registry } from "prom-client";
import type { BatchObserver } from "../clip/batching/metrics.js";
import type { ServedModel } from "./model.js";
import type { ServerPackages } from "./packages.js";

/** Seconds: from a text alone to a request that waits for many batches of images. */
const SECONDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30];
const SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/** What was answered to a request. */
export interface AnsweredRequest {
  /** The route's pattern, never the address that was asked for: that would be a label for each client. */
  route: string;
  status: number;
  seconds: number;
  /** Of the error. */
  code?: string;
}

/** The numbers of `GET /metrics`, in the registry of one server. */
export class ServerMetrics {
  private readonly registry: Registry;
  private readonly metrics;

  constructor(prometheus: ServerPackages["prometheus"]) {
    this.registry = new prometheus.Registry();
    prometheus.collectDefaultMetrics({ register: this.registry });
    this.metrics = makeMetrics(prometheus, [this.registry]);
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  answered({ route, status, seconds, code }: AnsweredRequest): void {
    this.metrics.requests.inc({ route, status });
    this.metrics.requestSeconds.observe({ route }, seconds);
    if (code !== undefined) this.metrics.errors.inc({ code });
  }

  /** What a model's batcher tells. */
  observer(model: string): BatchObserver {
    const { batchSize, queueSeconds, stageSeconds, items } = this.metrics;
    return {
      onBatch(kind, waits) {
        batchSize.observe({ model, kind }, waits.length);
        items.inc({ model, kind }, waits.length);
        for (const wait of waits) queueSeconds.observe({ model, kind }, wait / 1000);
      },
      onStage: (kind, stage, seconds) => stageSeconds.inc({ model, kind, stage }, seconds),
    };
  }

  /** The text of `GET /metrics`. */
  async text(models: readonly ServedModel[]): Promise<string> {
    for (const { name: model, batcher } of models) {
      const lanes = batcher.metrics();
      for (const kind of ["images", "texts"] as const) {
        this.metrics.waiting.set({ model, kind, state: "queued" }, lanes[kind].queued);
        this.metrics.waiting.set({ model, kind, state: "running" }, lanes[kind].running);
      }
    }
    return this.registry.metrics();
  }
}

function makeMetrics({ Counter, Gauge, Histogram }: ServerPackages["prometheus"], registers: Registry[]) {
  const name = (end: string) => `torchclip_${end}`;
  return {
    requests: new Counter({
      name: name("requests_total"),
      help: "Requests that were answered",
      labelNames: ["route", "status"],
      registers,
    }),
    requestSeconds: new Histogram({
      name: name("request_seconds"),
      help: "Time from the first byte of a request to the last of its answer",
      labelNames: ["route"],
      buckets: SECONDS,
      registers,
    }),
    errors: new Counter({
      name: name("errors_total"),
      help: "Requests that were answered with an error, by its code",
      labelNames: ["code"],
      registers,
    }),
    items: new Counter({
      name: name("items_total"),
      help: "Images and texts that were given to a model; the rate of kind=images is images/s",
      labelNames: ["model", "kind"],
      registers,
    }),
    batchSize: new Histogram({
      name: name("batch_size"),
      help: "Images or texts in a batch",
      labelNames: ["model", "kind"],
      buckets: SIZES,
      registers,
    }),
    queueSeconds: new Histogram({
      name: name("queue_seconds"),
      help: "Time that an image or a text waited for its batch",
      labelNames: ["model", "kind"],
      buckets: SECONDS,
      registers,
    }),
    stageSeconds: new Counter({
      name: name("stage_seconds_total"),
      help: "Time by stage; read, decode and resize are added up over images that are decoded at once",
      labelNames: ["model", "kind", "stage"],
      registers,
    }),
    waiting: new Gauge({
      name: name("waiting"),
      help: "Images and texts that wait (queued) or whose batch is in work (running)",
      labelNames: ["model", "kind", "state"],
      registers,
    }),
  };
}
