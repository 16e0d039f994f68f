import { Option, type Command } from "commander";
import { whole } from "../options.js";

const QUEUE = "embed by `torchclip worker`s that take shards from this Redis: redis://HOST:PORT";
const QUEUE_NAME = "name of the queue, for several runs in one Redis";
const ENQUEUE =
  "put the images of a list (.jsonl, .csv, .tsv, .txt), a folder or s3://bucket/prefix/ on the queue; " +
  "--out is a folder that all workers see, or s3://bucket/prefix";
const FORMAT = "files of the shards";
const SHARD_BYTES = "bytes of images in a shard; default 67108864 (64 MiB)";
const S3_ENDPOINT = "URL of a server that speaks S3, in place of AWS";

/** The options of every command that reaches a queue. */
export function connectionOptions(command: Command): Command {
  return command
    .addOption(new Option("--queue <redis>", QUEUE))
    .addOption(new Option("--queue-name <name>", QUEUE_NAME).default("embed"))
    .option("--s3-endpoint <url>", S3_ENDPOINT);
}

/** The options of `torchclip embed` for a run on a queue. */
export function queueOptions(command: Command): Command {
  return connectionOptions(command)
    .option("--enqueue <input>", ENQUEUE)
    .addOption(new Option("--format <format>", FORMAT).choices(["parquet", "npy"]))
    .addOption(new Option("--shard-bytes <n>", SHARD_BYTES).argParser(whole(1)))
    .option("--status", "say how far the queue is")
    .option("--wait", "with --status or --enqueue: stay until the run is finished, with a progress bar")
    .option("--merge", "write the manifest of --out again, from the records of its shards");
}
