import { Option, type Command } from "commander";
import { DATASETS, loadDataset, readSentences, renderFolder } from "../datasets/index.js";
import { datasetLines } from "../report/text.js";
import { interruptSignal, list, progressBar, remark } from "./io.js";
import { mirrorOptions, whole, type DownloadFlags } from "./options.js";

interface ShowFlags extends DownloadFlags {
  split?: string;
  root?: string;
}

export function datasetsCommand(program: Command): void {
  const command = program.command("datasets").description("the data sets known by name; show or render one");
  command
    .command("list", { isDefault: true })
    .description("names and what they are")
    .option("--json", "print JSON")
    .action((flags: { json?: boolean }) => {
      const shown = DATASETS.map(({ name, splits, description }) => ({ name, splits, description }));
      if (flags.json) process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
      else
        for (const d of shown) process.stdout.write(`${d.name.padEnd(14)} ${d.description} (${d.splits})\n`);
    });
  const showing = command
    .command("show <name|path>")
    .description("classes and counts of all splits")
    .option("--split <split>", "train, valid or test")
    .option(
      "--root <folder>",
      "for a data set by name: the folder with its own files, unpacked, instead of the download",
    )
    .option("--cache-dir <folder>", "where downloaded and generated data sets are kept");
  mirrorOptions(showing).action(show);
  command
    .command("render <file>")
    .description("a TSV of sentence and label as images that look like Rendered SST2: OUT/CLASS/NNNNN.png")
    .requiredOption("-o, --out <folder>", "where the class folders go")
    .option("--classes <a,b,…>", "class folders for the labels 0, 1, …", "negative,positive")
    .addOption(new Option("--size <pixels>", "side of the images").argParser(whole(32, 4096)).default(448))
    .addOption(
      new Option("--font-size <pixels>", "height of the letters; by default what fits").argParser(
        whole(6, 512),
      ),
    )
    .action(
      async (file: string, flags: { out: string; classes: string; size: number; fontSize?: number }) => {
        const bar = progressBar("render");
        const sentences = await readSentences(file);
        const files = await renderFolder(sentences, flags.out, {
          classes: list(flags.classes),
          size: flags.size,
          fontSize: flags.fontSize,
          signal: interruptSignal(),
          onProgress: bar.update,
        });
        bar.stop();
        process.stdout.write(`${files.length} images in ${flags.out}\n`);
      },
    );
}

async function show(name: string, flags: ShowFlags): Promise<void> {
  const bar = progressBar("data set");
  const options = { ...flags, signal: interruptSignal(), onNote: remark, onProgress: bar.update };
  const data = await loadDataset(name, options).finally(() => bar.stop());
  process.stdout.write(`${datasetLines(data)}\n`);
  data.notes.forEach(remark);
}
