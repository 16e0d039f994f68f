import { cpus } from "node:os";
import { addon, type LoadedModel } from "../addon.js";
import type { Clip } from "../clip/clip.js";
import { load } from "../clip/load.js";
import type { Device } from "../clip/options.js";
import { check, ifPossible, leastCosine } from "../clip/precision.js";
import { TorchclipError } from "../errors.js";
import {
  goldenInputs,
  goldensBeside,
  readGoldens,
  writeGoldens,
  type Goldens,
} from "../models/store/goldens.js";
import { resolveModel } from "../models/store/resolve.js";
import { packageVersion } from "../util/package.js";

export interface CheckFlags {
  device: Device;
  goldens?: string;
  json?: boolean;
}

const PRECISIONS = ["fp32", "bf16", "fp16", "int8", "fp8"] as const;
type CheckedPrecision = (typeof PRECISIONS)[number];
/** Largest difference in fp32 and least cosines that are accepted, as in the tests (docs/precision.md). */
const ACCEPTED: Record<CheckedPrecision, number> = {
  fp32: 1e-5,
  bf16: 0.9995,
  fp16: 0.9995,
  int8: 0.999,
  fp8: 0.99,
};

interface Row {
  precision: CheckedPrecision;
  device: string;
  image: string;
  text: string;
  /** Largest difference of one number of a normalised embedding. */
  difference: number;
  cosine: number;
  ok: boolean;
}

/**
 * A model on this machine, in each precision that it can have here: against its goldens, from the image and the
 * text on; without any, the runner that would be used against the artifact's TorchScript in fp32 on the CPU. Fails
 * where one is worse than the project accepts.
 */
export async function checkModel(name: string, flags: CheckFlags): Promise<void> {
  const path = await resolveModel(name, {});
  const file = flags.goldens ?? goldensBeside(path);
  const goldens = await readGoldens(file);
  if (flags.goldens && !goldens)
    throw new TorchclipError("E_ARGUMENT", `no such file: ${file}`, { subject: file });
  const against = goldens ? `${goldens.by}: ${file}` : "TorchScript in fp32 on this CPU";
  const rows = goldens
    ? await againstGoldens(path, flags.device, goldens, file)
    : await againstTorchScript(path, flags.device);
  if (flags.json) process.stdout.write(`${JSON.stringify({ model: name, path, against, rows }, null, 2)}\n`);
  else process.stdout.write(`${path}\nagainst ${against}\n${rows.map(line).join("")}`);
  if (rows.every((row) => row.ok)) return;
  const message = `${name} is not computed as accurately here as it should be; see above`;
  throw new TorchclipError("E_INTERNAL", message, { subject: name });
}

function line({ ok, precision, device, difference, cosine, image, text }: Row): string {
  return (
    `${ok ? "ok  " : "BAD "} ${precision.padEnd(4)} on ${device}: ` +
    `largest difference ${difference.toExponential(2)}, least cosine ${cosine.toFixed(6)}  ` +
    `(image: ${image}; text: ${text})\n`
  );
}

async function againstTorchScript(path: string, device: Device): Promise<Row[]> {
  const run = async (on: Device, precision: CheckedPrecision, generic: boolean) => {
    const engine = new (addon().Engine)();
    try {
      const info = await engine.load(path, on, precision, 0, generic, false, false, 0);
      return { info, embeddings: (await check(engine, info)).embeddings };
    } finally {
      await engine.close();
    }
  };
  const reference = await run("cpu", "fp32", true);
  const rows: Row[] = [];
  for (const precision of PRECISIONS) {
    const found = await ifPossible(() => run(device, precision, false));
    if (found) rows.push(compared(precision, found.info, reference.embeddings, found.embeddings));
  }
  return rows;
}

async function againstGoldens(path: string, device: Device, goldens: Goldens, file: string): Promise<Row[]> {
  const reference = Float32Array.from([...goldens.image, ...goldens.text].flat());
  const rows: Row[] = [];
  for (const precision of PRECISIONS) {
    const clip = await ifPossible(() => load(path, { device, precision }));
    if (!clip) continue;
    try {
      const { embedDim } = clip.info;
      if (embedDim !== goldens.image[0].length || embedDim !== goldens.text[0].length)
        throw new TorchclipError(
          "E_ARGUMENT",
          `${file} is of a model with another embedding dimension: ${goldens.model}`,
          { subject: file },
        );
      rows.push(compared(precision, clip.info, reference, await embeddingsOf(clip, goldens)));
    } finally {
      await clip.close();
    }
  }
  return rows;
}

function compared(
  precision: CheckedPrecision,
  info: LoadedModel,
  reference: Float32Array,
  embeddings: Float32Array,
): Row {
  const difference = embeddings.reduce((most, x, i) => Math.max(most, Math.abs(x - reference[i])), 0);
  const cosine = leastCosine(reference, embeddings, info.embedDim);
  const ok = precision === "fp32" ? difference <= ACCEPTED.fp32 : cosine >= ACCEPTED[precision];
  const { device, imageRunner: image, textRunner: text } = info;
  return { precision, device, image, text, difference, cosine, ok };
}

/** Embeddings of the images, then of the texts. */
async function embeddingsOf(clip: Clip, inputs: Pick<Goldens, "images" | "texts">): Promise<Float32Array> {
  const images = await clip.encodeImages(inputs.images.map((png) => Buffer.from(png, "base64")));
  const texts = await clip.encodeTexts(inputs.texts);
  return Float32Array.from([...images.data, ...texts.data]);
}

/** Writes what TorchScript in fp32 gives on this CPU, as the goldens of a model. */
export async function saveGoldens(name: string, file: string): Promise<void> {
  const inputs = await goldenInputs();
  const artifact = await resolveModel(name, {});
  const clip = await load(artifact, { device: "cpu", precision: "fp32", runner: "generic" });
  try {
    const rows = rowsOf(await embeddingsOf(clip, inputs), clip.info.embedDim);
    const images = inputs.images.length;
    await writeGoldens(file, {
      model: name,
      by: reference(),
      ...inputs,
      image: rows.slice(0, images),
      text: rows.slice(images),
    });
  } finally {
    await clip.close();
  }
  process.stdout.write(
    `${file}: ${name} for ${inputs.images.length} images and ${inputs.texts.length} texts\n`,
  );
}

/** What computes the goldens that are written here. */
function reference(): string {
  const libtorch = addon().libtorchInfo().version;
  const cpu = cpus().at(0)?.model.trim() ?? process.arch;
  return `torchclip ${packageVersion()}, TorchScript in float32, libtorch ${libtorch}, ${cpu}`;
}

function rowsOf(embeddings: Float32Array, dim: number): number[][] {
  return Array.from({ length: embeddings.length / dim }, (_, row) => [
    ...embeddings.subarray(row * dim, (row + 1) * dim),
  ]);
}
