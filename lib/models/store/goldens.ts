import { readFile, stat } from "node:fs/promises";
import sharp from "sharp";
import { TorchclipError } from "../../errors.js";
import { writeFileWhole } from "../../util/files.js";
import { seededRandom } from "../../util/random.js";

/**
 * What a model gives for a few images and texts, by its reference implementation or on another machine: a
 * file to check an installed model by, from the decoded image and the text on. `scripts/goldens/doctor.py`
 * makes one by open_clip.
 */
export interface Goldens {
  model: string;
  /** What computed them, such as "open_clip 3.3.0, float32". */
  by: string;
  /** PNG files, base64. */
  images: string[];
  texts: string[];
  /** Normalised embeddings, one row for each image. */
  image: number[][];
  /** The same, one row a text. */
  text: number[][];
}

/** Where the goldens of an artifact lie: beside it. */
export function goldensBeside(artifact: string): string {
  return artifact.replace(/\.pt$/, "") + ".goldens.json";
}

/** The goldens in a file; undefined where there is none. */
export async function readGoldens(file: string): Promise<Goldens | undefined> {
  if (!(await stat(file).catch(() => undefined))) return undefined;
  const refuse = (why: string, cause?: unknown) =>
    new TorchclipError("E_ARGUMENT", `${file} holds no goldens: ${why}`, { subject: file, cause });
  let found: Partial<Record<keyof Goldens, unknown>> | null;
  try {
    found = JSON.parse(await readFile(file, "utf8")) as Partial<Record<keyof Goldens, unknown>> | null;
  } catch (cause) {
    throw refuse("it is no JSON", cause);
  }
  const { model, by, images, texts, image, text } = found ?? {};
  if (typeof model !== "string" || typeof by !== "string") throw refuse("model or by is missing");
  if (!isStrings(images) || !isStrings(texts)) throw refuse("images and texts must be lists of strings");
  if (!isMatrix(image, images.length) || !isMatrix(text, texts.length))
    throw refuse("image and text must have one row of numbers for each image and text");
  return { model, by, images, texts, image, text };
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "string");
}

/** Whether a value is a list of `count` rows of finite numbers, all of one length. */
function isMatrix(value: unknown, count: number): value is number[][] {
  if (!Array.isArray(value) || value.length !== count) return false;
  const rows: readonly unknown[] = value;
  return rows.every((row) => isNumbers(row) && row.length > 0 && row.length === lengthOf(rows[0]));
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isFinite(item));
}

const lengthOf = (value: unknown): number => (Array.isArray(value) ? value.length : 0);

export async function writeGoldens(file: string, goldens: Goldens): Promise<void> {
  await writeFileWhole(file, JSON.stringify(goldens) + "\n");
}

const GOLDEN_IMAGES = [
  { seed: 1, width: 120, height: 90 },
  { seed: 2, width: 64, height: 96 },
  { seed: 3, width: 75, height: 75 },
];

/** RGB of an image whose three channels are waves, each with a direction and a phase by the seed. */
function wavePixels(seed: number, width: number, height: number): Uint8Array {
  const next = seededRandom(seed);
  const threeNumbers = () => Array.from({ length: 3 }, () => next() * 8);
  const [across, down, phases] = [threeNumbers(), threeNumbers(), threeNumbers()];
  const wave = (c: number, x: number, y: number): number =>
    ((across[c] ?? 0) * x) / width + ((down[c] ?? 0) * y) / height + (phases[c] ?? 0);
  return Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const pixel = Math.floor(i / 3);
    return 128 + 110 * Math.sin(wave(i % 3, pixel % width, Math.floor(pixel / width)));
  });
}

/** Images and texts for goldens that this machine writes, always the same. */
export async function goldenInputs(): Promise<Pick<Goldens, "images" | "texts">> {
  const images: string[] = [];
  for (const { seed, width, height } of GOLDEN_IMAGES) {
    const pixels = wavePixels(seed, width, height);
    const png = await sharp(pixels, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer();
    images.push(png.toString("base64"));
  }
  return {
    images,
    texts: [
      "a photo of a cat",
      "Two dogs, running in the snow!",
      "schÃ¶n: it&#39;s GREAT 🎬",
      "a diagram of the number 7",
    ],
  };
}
