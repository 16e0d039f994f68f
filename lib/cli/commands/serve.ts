import { Option, type Command } from "commander";
import { AUTO_ROTATE, collect, loadingOptions, whole, nonNegative } from "../options.js";
import { indexDeviceOption } from "./index-options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION = "HTTP server: embeddings of texts and images, classification and search";
const MODEL =
  "a model that is served: a name or path, or NAME=MODEL for the name that requests give; may be repeated, " +
  "and the first answers requests that name none";
const INDEX =
  "an index for /v1/search: NAME=FILE (a .npy or .parquet of `torchclip embed`, or the manifest.json of its " +
  "queue), or NAME=URL#INDEX, that of another torchclip server (#INDEX: if it is not called NAME there; the " +
  "key is TORCHCLIP_SHARD_API_KEY); may be repeated, and those of one NAME are the shards of one index";
const IMAGES = "folder of an index's images, in the order of the files of --index; the page shows thumbnails";
const PROBE = "a probe of `torchclip teach` or `torchclip probe` for /v1/classify, or NAME=FILE";
const KEY =
  "a key that requests must bring (Authorization: Bearer KEY); may be repeated. TORCHCLIP_API_KEYS, " +
  "separated by commas, is not shown in the list of processes";
const HOST = "address that is listened on; 0.0.0.0 or :: for every network of the machine";
const WAITING =
  "images and texts of a model, and searches, that may wait or be in work; more are refused with 429";
const URLS = "fetch images that requests name by an http(s) URL; addresses that are not public are refused";

export function serveCommand(program: Command): void {
  const command = program.command("serve").description(DESCRIPTION);
  loadingOptions(command.option("-m, --model <model>", MODEL, collect))
    .option("--host <address>", HOST, "127.0.0.1")
    .addOption(
      new Option("-p, --port <n>", "0 takes one that is free").argParser(whole(0, 65535)).default(8000),
    )
    .option("--api-key <key>", KEY, collect)
    .option("--index <file>", INDEX, collect)
    .option("--index-images <folder>", IMAGES, collect)
    .addOption(indexDeviceOption())
    .option("--probe <file>", PROBE, collect)
    .addOption(
      new Option("--max-batch <n>", "images or texts in one batch").argParser(whole(1, 65536)).default(32),
    )
    .addOption(
      new Option("--max-delay <ms>", "how long the first of a batch waits for others")
        .argParser(nonNegative)
        .default(5),
    )
    .addOption(new Option("--max-waiting <n>", WAITING).argParser(whole(1, 1 << 20)).default(1024))
    .addOption(
      new Option("--body-limit <MiB>", "the largest body of a request").argParser(whole(1, 1024)).default(32),
    )
    .addOption(new Option("--max-pixels <n>", "refuse images with more pixels").argParser(whole(1)))
    .option("--allow-urls", URLS)
    .option("--allow-private", "let these URLs lead to addresses that are not public (intranet, localhost)")
    .option("--auto-rotate", AUTO_ROTATE)
    .addOption(
      new Option("--shard-timeout <s>", "how long another server has for the answer of a shard")
        .argParser(nonNegative)
        .default(10),
    )
    .addOption(
      new Option("--drain <s>", "how long SIGTERM waits for requests that are in work")
        .argParser(nonNegative)
        .default(10),
    )
    .addOption(
      new Option("--log-level <level>", "of the log on standard error")
        .choices(["silent", "error", "warn", "info", "debug"])
        .default("info"),
    )
    .action(loaded(async () => (await import("../serve.js")).run));
}
