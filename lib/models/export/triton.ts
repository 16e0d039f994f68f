import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { addon } from "../../addon.js";
import { TorchclipError } from "../../errors.js";
import { oneOf, readOptions, wholeIn, type OptionCheck } from "../../options.js";
import { exists, writeFileWhole, writeFolderWhole, writing } from "../../util/files.js";
import type { ModelConfig } from "../config-types.js";
import { readArtifactConfig } from "../config.js";

/** Where Triton runs a model. */
export type TritonDevice = "auto" | "cpu" | "gpu";

export interface TritonOptions {
  /** Name of the models in the repository: NAME_image and NAME_text. Default "clip". */
  name?: string;
  /** Type of the weights and of the arithmetic. Default "fp32"; "fp16" is for GPUs. */
  precision?: "fp32" | "fp16";
  /** Rows in one forward pass, at most. Default 64. */
  maxBatchSize?: number;
  /** How long a request may wait for others to share its pass, in microseconds. Default 1000. */
  maxDelay?: number;
  /** Default "auto": a GPU where the server has one. */
  device?: TritonDevice;
}

/** A model of the repository. */
export interface TritonModel {
  name: string;
  folder: string;
  /** One row of its input and of its output, as config.pbtxt has them. */
  input: { type: "TYPE_UINT8" | "TYPE_INT64"; dims: number[] };
  output: { type: "TYPE_FP32"; dims: number[] };
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const KINDS = { auto: "KIND_AUTO", cpu: "KIND_CPU", gpu: "KIND_GPU" } as const;

/**
 * Writes the towers of a model into a model repository of Triton Inference Server, for its PyTorch backend
 * with dynamic batching. `FOLDER/NAME_image` takes RGB images, uint8 [n, S, S, 3] (`clip.preprocess`), and
 * `FOLDER/NAME_text` takes token ids, int64 [n, L] (`clip.tokenize`). Both return embeddings of length 1,
 * float32 [n, dim]. The code is generated from the settings of the artifact; what code the file holds is not
 * read. Each model folder appears whole.
 *
 * Throws E_ARGUMENT for an option outside its range or a model folder that exists, E_MODEL_UNSUPPORTED for a
 * third-party export, and E_WRITE.
 *
 * @param artifact path of a model of torchclip (`torchclip import`)
 * @param folder the repository; other models in it stay as they are
 * @example
 * await exportTriton("model.pt", "repository", { precision: "fp16", device: "gpu" });
 */
export async function exportTriton(
  artifact: string,
  folder: string,
  options: TritonOptions = {},
): Promise<TritonModel[]> {
  const settings = { ...DEFAULTS, ...readOptions(options, CHECKS) };
  const config = await readArtifactConfig(artifact);
  if (config.image.kind === "torchscript") {
    const message = `${artifact} is a third-party TorchScript export, whose towers cannot be taken apart`;
    throw new TorchclipError("E_MODEL_UNSUPPORTED", message, { subject: artifact });
  }
  const towers = towersOf(config, folder, settings.name);
  for (const { model } of towers) await refuseExisting(model.folder);
  await writing(folder, () => mkdir(folder, { recursive: true }));
  for (const { tower, model } of towers) {
    await writeFolderWhole(model.folder, async (temporary) => {
      const version = join(temporary, "1");
      await mkdir(version);
      await addon().writeTowerModule(artifact, tower, settings.precision, join(version, "model.pt"));
      await writeFileWhole(join(temporary, "config.pbtxt"), configText(model, settings));
    });
  }
  return towers.map(({ model }) => model);
}

const isName: OptionCheck = (value) =>
  typeof value === "string" && NAME.test(value)
    ? undefined
    : "a name of letters, digits, dots, hyphens and underscores";

const CHECKS: Record<keyof TritonOptions, OptionCheck> = {
  name: isName,
  precision: oneOf("fp32", "fp16"),
  maxBatchSize: wholeIn(1, Infinity),
  maxDelay: wholeIn(0, Infinity),
  device: oneOf("auto", "cpu", "gpu"),
};

const DEFAULTS: Required<TritonOptions> = {
  name: "clip",
  precision: "fp32",
  maxBatchSize: 64,
  maxDelay: 1000,
  device: "auto",
};

async function refuseExisting(folder: string): Promise<void> {
  if (!(await exists(folder))) return;
  const message = `${folder} exists; remove it, or choose another name`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: folder });
}

function towersOf(config: ModelConfig, folder: string, name: string) {
  const { image, text, embedDim } = config;
  const modelOf = (tower: string, input: TritonModel["input"]): TritonModel => ({
    name: `${name}_${tower}`,
    folder: join(folder, `${name}_${tower}`),
    input,
    output: { type: "TYPE_FP32", dims: [embedDim] },
  });
  const side = image.imageSize;
  return [
    { tower: "image", model: modelOf("image", { type: "TYPE_UINT8", dims: [side, side, 3] }) },
    { tower: "text", model: modelOf("text", { type: "TYPE_INT64", dims: [text.contextLength] }) },
  ] as const;
}

/**
 * config.pbtxt, by Triton's model_config.proto: the PyTorch backend finds inputs and outputs by their numbers in
 * INPUT__0 and OUTPUT__0.
 */
function configText(
  { name, input, output }: TritonModel,
  { maxBatchSize, maxDelay, device }: Required<TritonOptions>,
): string {
  const tensor = (label: string, { type, dims }: { type: string; dims: number[] }) =>
    `[\n  {\n    name: "${label}"\n    data_type: ${type}\n    dims: [ ${dims.join(", ")} ]\n  }\n]`;
  return [
    `name: "${name}"`,
    'backend: "pytorch"',
    `max_batch_size: ${maxBatchSize}`,
    `input ${tensor("INPUT__0", input)}`,
    `output ${tensor("OUTPUT__0", output)}`,
    `dynamic_batching {\n  max_queue_delay_microseconds: ${maxDelay}\n}`,
    `instance_group [\n  {\n    kind: ${KINDS[device]}\n  }\n]`,
    "",
  ].join("\n");
}
