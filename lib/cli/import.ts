import { constants } from "node:fs";
import { copyFile, stat } from "node:fs/promises";
import { Option, type Command } from "commander";
import type { Activation } from "../models/architectures/types.js";
import { describeModel, readArtifactConfig } from "../models/config.js";
import { importModel } from "../models/import/import.js";
import { findSource } from "../models/import/source.js";
import { resolveModel } from "../models/store/resolve.js";
import { writeNamedWhole } from "../util/files.js";
import { interruptSignal } from "./io.js";
import { whole } from "./options.js";

export function importCommand(program: Command): void {
  program
    .command("import <path|name>")
    .description(
      "weights (safetensors, PyTorch, ONNX, OpenAI's .pt, a folder of them, a hub id or a model's name) " +
        "to one artifact",
    )
    .requiredOption("-o, --out <file>", "the artifact, e.g. model.pt")
    .option("--name <name>", "name that results show")
    .option(
      "--arch <name>",
      "open_clip's name of the architecture (ViT-H-14-quickgelu …), where no config lies beside the weights",
    )
    .addOption(
      new Option("--activation <name>", "where the checkpoint does not say it").choices([
        "quick_gelu",
        "gelu",
        "gelu_tanh",
      ]),
    )
    .option(
      "--trust-code",
      "let a TorchScript export of unknown layout run its own code, with your rights; for files whose author you trust",
    )
    .addOption(
      new Option("--image-size <n>", "of a TorchScript export whose weights do not show it").argParser(
        whole(1, 4096),
      ),
    )
    .addOption(new Option("--context-length <n>", "the same for its texts").argParser(whole(1, 65536)))
    .action(
      async (
        path: string,
        flags: {
          trustCode?: boolean;
          imageSize?: number;
          contextLength?: number;
          out: string;
          name?: string;
          arch?: string;
          activation?: Activation;
        },
      ) => {
        const { out, ...options } = flags;
        const signal = interruptSignal();
        const here = await stat(path).catch(() => undefined);
        // A name or hub id is imported into the cache, as load does, and copied from there.
        const artifact = here ? undefined : await resolveModel(path, { ...options, signal });
        if (artifact)
          await writeNamedWhole(out, (temporary) =>
            copyFile(artifact, temporary, constants.COPYFILE_FICLONE),
          );
        const config = artifact
          ? await readArtifactConfig(out)
          : await importModel(await findSource(path), out, { ...options, signal });
        process.stdout.write(`${out}: ${describeModel(config)}\n`);
      },
    );
}
