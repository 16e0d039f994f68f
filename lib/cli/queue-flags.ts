/** The flags of the command line that reach a queue. */
export interface ConnectionFlags {
  queue?: string;
  queueName: string;
  s3Endpoint?: string;
}

/** The flags of `queueOptions`. */
export interface QueueFlags extends ConnectionFlags {
  enqueue?: string;
  format?: "npy" | "parquet";
  shardBytes?: number;
  status?: boolean;
  wait?: boolean;
  merge?: boolean;
}

/** Options of `torchclip embed` that need --queue. */
export const QUEUE_OPTIONS = [
  "queue-name",
  "enqueue",
  "format",
  "shard-bytes",
  "status",
  "wait",
  "merge",
  "s3-endpoint",
];
