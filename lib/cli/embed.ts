import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { Argument, Option, type Command } from "commander";
import { load } from "../clip/load.js";
import { embedImages, embedTexts } from "../embed/embed.js";
import { imageSource } from "../embed/sources.js";
import { TorchclipError } from "../errors.js";
import { slowestStage } from "../report/text.js";
import { readText } from "../util/text-file.js";
import { interruptSignal, note, progressBar, remark, setFailedItems } from "./io.js";
import {
  imageOptions,
  loadOptions,
  modelOptions,
  whole,
  type ImageFlags,
  type ModelFlags,
} from "./options.js";

interface Flags extends ModelFlags, ImageFlags {
  out: string;
  texts?: string;
  batchSize?: number;
  truncate?: boolean;
  autoRotate?: boolean;
  fastDecode?: boolean;
  resizeOn?: "cpu" | "device";
  decodeOn?: "cpu" | "device";
  json?: boolean;
}

const DESCRIPTION = [
  "embeddings of many images or texts into a .npy or .parquet file",
  "goes on after a stop",
  "exit status 3 where items failed",
].join("; ");

export function embedCommand(program: Command): void {
  const described = program.command("embed").description(DESCRIPTION);
  imageOptions(modelOptions(described))
    .addArgument(
      new Argument(
        "[input]",
        "a folder, a .tar, or a list of images: .csv, .tsv, .jsonl (column path or image), .txt",
      ),
    )
    .option("--texts <file>", "embed the lines of a file instead of images")
    .requiredOption(
      "-o, --out <file>",
      "OUT.npy (float32 [rows, dim], names in OUT.npy.json) or OUT.parquet (name, embedding, error)",
    )
    .addOption(
      new Option("-b, --batch-size <n>", "images or texts in one forward pass").argParser(whole(1, 65536)),
    )
    .option("--truncate", "cut texts that are longer than the context instead of failing")
    .option("--auto-rotate", "turn images as their EXIF orientation says (CLIP's reference does not)")
    .option(
      "--fast-decode",
      "let the JPEG decoder leave out detail that the resize throws away; faster, not bit-exact",
    )
    .addOption(
      new Option(
        "--resize-on <place>",
        "device: images are resized where the model runs, with the same bits",
      ).choices(["cpu", "device"]),
    )
    .addOption(
      new Option(
        "--decode-on <place>",
        "device: JPEG files are decoded by the GPU; faster, not bit-exact",
      ).choices(["cpu", "device"]),
    )
    .option("--json", "print the summary as JSON")
    .action(run);
}

/** A model's name that holds in every folder: a path is made absolute. */
async function lastingName(model: string): Promise<string> {
  const isPath = (await stat(model).catch(() => undefined)) !== undefined;
  return isPath ? resolve(model) : model;
}

async function run(input: string | undefined, flags: Flags): Promise<void> {
  if ((input === undefined) === (flags.texts === undefined))
    throw new TorchclipError("E_ARGUMENT", "give either images (a folder, list or .tar) or --texts FILE", {
      subject: "input",
    });
  const signal = interruptSignal();
  const texts = flags.texts
    ? (await readText(flags.texts, "E_READ")).split(/\r?\n/).filter((l) => l.length > 0)
    : undefined;
  const source = texts ? undefined : await imageSource(input!);
  const clip = await load(flags.model, loadOptions(flags, signal));
  const unit = texts ? "texts/s" : "images/s";
  const bar = progressBar("embed", unit);
  try {
    const options = {
      input: flags.texts ?? input!,
      model: await lastingName(flags.model),
      batchSize: flags.batchSize,
      autoRotate: flags.autoRotate,
      fastDecode: flags.fastDecode,
      resizeOn: flags.resizeOn,
      decodeOn: flags.decodeOn,
      truncate: flags.truncate ? ("end" as const) : undefined,
      signal,
      onProgress: bar.update,
    };
    const result = await (
      texts ? embedTexts(clip, texts, flags.out, options) : embedImages(clip, source!, flags.out, options)
    ).finally(() => bar.stop());
    if (result.errors.length) setFailedItems();
    source?.notes().forEach(remark);
    const rate = (result.rows - result.resumed) / result.seconds;
    const { precision, device, embedDim } = clip.info;
    if (flags.json) {
      const [failed, out] = [result.errors.length, flags.out];
      const summary = { ...result, failed, out, perSecond: rate, precision, device };
      process.stdout.write(`${JSON.stringify(summary)}\n`);
      return;
    }
    for (const e of result.errors.slice(0, 10)) note(`row ${e.index}: ${e.code}: ${e.message}`);
    if (result.errors.length > 10) note(`… and ${result.errors.length - 10} more that could not be read`);
    const failed = result.errors.length ? `, ${result.errors.length} of them failed (NaN)` : "";
    const resumed = result.resumed ? `, ${result.resumed} of them by an earlier run` : "";
    const slowest = texts ? "" : `; slowest stage: ${slowestStage(result.times)}`;
    process.stdout.write(
      `${result.rows} rows of ${embedDim} in ${flags.out}${failed}${resumed}; ` +
        `${rate.toFixed(1)} ${unit} on ${device}, ${precision}${slowest}\n`,
    );
  } catch (error) {
    if (signal.aborted) note("Stopped. The same command goes on where it was.");
    throw error;
  } finally {
    await clip.close();
  }
}
