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
  let found: Partial<Goldens> | null;
  try {
    found = JSON.parse(await readFile(file, "utf8")) as Partial<Goldens> | null;
  } catch (cause) {
    throw refuse("it is no JSON", cause);
  }
  const strings = (x: unknown) => Array.isArray(x) && x.length > 0 && x.every((s) => typeof s === "string");
  const rows = (x: unknown, count: number) =>
    Array.isArray(x) &&
    x.length === count &&
    x.every(
      (row) =>
        Array.isArray(row) &&
        row.length === (x[0] as number[]).length &&
        row.length > 0 &&
        row.every((n) => Number.isFinite(n)),
    );
  if (typeof found?.model !== "string" || typeof found.by !== "string")
    throw refuse("model or by is missing");
  if (!strings(found.images) || !strings(found.texts))
    throw refuse("images and texts must be lists of strings");
  if (!rows(found.image, found.images!.length) || !rows(found.text, found.texts!.length))
    throw refuse("image and text must have one row of numbers for each image and text");
  return found as Goldens;
}

export async function writeGoldens(file: string, goldens: Goldens): Promise<void> {
  await writeFileWhole(file, JSON.stringify(goldens) + "\n");
}

/** Images and texts for goldens that this machine writes, always the same. */
export async function goldenInputs(): Promise<Pick<Goldens, "images" | "texts">> {
  const images: string[] = [];
  for (const [seed, width, height] of [
    [1, 120, 90],
    [2, 64, 96],
    [3, 75, 75],
  ]) {
    const next = seededRandom(seed);
    const waves = Array.from({ length: 9 }, () => next() * 8);
    const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
      const [x, y, c] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width), i % 3];
      return 128 + 110 * Math.sin((waves[c] * x) / width + (waves[c + 3] * y) / height + waves[c + 6]);
    });
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
