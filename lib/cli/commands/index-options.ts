import { Argument, Option } from "commander";

const INDEX =
  "a .npy (with its .npy.json) or a .parquet of `torchclip embed`, or the manifest.json of its queue";
const ROOT = "where the index's images are, if not where they were embedded from";

/** The index that a command works on. */
export function indexArgument(): Argument {
  return new Argument("<index>", INDEX);
}

/** The folder of the index's images. */
export function indexRootOption(flags = "--root <folder>"): Option {
  return new Option(flags, ROOT);
}

/** How the rows of an index are held; `verb` is what is done with them. */
export function indexPrecisionOption(verb: "searches" | "compares"): Option {
  const description = `fp32 ${verb} the exact rows; bf16 and int8 hold them smaller`;
  const choices = ["fp32", "bf16", "int8"];
  return new Option("--index-precision <type>", description).choices(choices).default("fp32");
}

/** Where the rows of an index are held and searched. */
export function indexDeviceOption(): Option {
  const description = "where the index is searched: cpu, or cuda, cuda:N, which hold a copy of its rows";
  return new Option("--index-device <device>", description).default("cpu");
}
