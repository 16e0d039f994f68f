import { DATASETS, loadDataset, readSentences, renderFolder } from "../datasets/index.js";
import { datasetLines } from "../report/text.js";
import { interruptSignal, list as items, progressBar, remark } from "./io.js";
import type { DownloadFlags } from "./options.js";

/** What `torchclip datasets list` does. */
export function list(flags: { json?: boolean }): void {
  const shown = DATASETS.map(({ name, splits, description }) => ({ name, splits, description }));
  const width = Math.max(...shown.map(({ name }) => name.length));
  const lines = shown.map(
    ({ name, splits, description }) => `${name.padEnd(width)} ${description} (${splits})\n`,
  );
  process.stdout.write(flags.json ? `${JSON.stringify(shown, null, 2)}\n` : lines.join(""));
}

interface ShowFlags extends DownloadFlags {
  split?: string;
  root?: string;
}

/** What `torchclip datasets show` does. */
export async function show(name: string, flags: ShowFlags): Promise<void> {
  const bar = progressBar("data set");
  const options = { ...flags, signal: interruptSignal(), onNote: remark, onProgress: bar.update };
  const data = await loadDataset(name, options).finally(() => bar.stop());
  process.stdout.write(`${datasetLines(data)}\n`);
  data.notes.forEach(remark);
}

interface RenderFlags {
  out: string;
  classes: string;
  size: number;
  fontSize?: number;
}

/** What `torchclip datasets render` does. */
export async function render(file: string, flags: RenderFlags): Promise<void> {
  const bar = progressBar("render");
  const sentences = await readSentences(file);
  const files = await renderFolder(sentences, flags.out, {
    classes: items(flags.classes),
    size: flags.size,
    fontSize: flags.fontSize,
    signal: interruptSignal(),
    onProgress: bar.update,
  });
  bar.stop();
  process.stdout.write(`${files.length} images in ${flags.out}\n`);
}
