import { Option, type Command } from "commander";
import { load } from "../clip.js";
import { TorchclipError } from "../errors.js";
import { topPredictions } from "../report/text.js";
import { interruptSignal, list } from "./io.js";
import { imageOptions, loadOptions, modelOptions, whole, type ImageFlags, type ModelFlags } from "./options.js";

interface Flags extends ModelFlags, ImageFlags {
  labels: string;
  template: string[];
  topK: number;
  autoRotate?: boolean;
  json?: boolean;
}

export function classifyCommand(program: Command): void {
  imageOptions(modelOptions(program.command("classify <image...>").description("rank labels for images")))
    .requiredOption("-l, --labels <a,b,…>", "labels, separated by commas")
    .option("--template <text...>", "prompt template with {} for the label", ["a photo of a {}"])
    .addOption(new Option("-k, --top-k <n>", "labels shown").argParser(whole(1)).default(5))
    .option("--auto-rotate", "turn pictures as their EXIF orientation says")
    .option("--json", "print JSON")
    .action(run);
}

async function run(images: string[], flags: Flags): Promise<void> {
  const labels = list(flags.labels) ?? [];
  if (labels.length === 0) throw new TorchclipError("E_ARGUMENT", "--labels holds no label", { subject: "labels" });
  const signal = interruptSignal();
  const clip = await load(flags.model, loadOptions(flags, signal));
  try {
    const all = [];
    for (const image of images) {
      const predictions = await clip.classify(image, labels, { template: flags.template, topK: flags.topK, autoRotate: flags.autoRotate, signal });
      all.push({ image, predictions });
      if (!flags.json) process.stdout.write(`${images.length > 1 ? `${image}\n` : ""}${topPredictions(predictions)}\n\n`);
    }
    if (flags.json) process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);
  } finally {
    await clip.close();
  }
}
