import { readFloats } from "../models/formats/read-floats.js";
import type { ArtifactContent } from "../models/import/rewrite.js";
import { interpolate } from "./result.js";
import { validate, type TrainedOn } from "./train-steps.js";
import type { Trainer } from "./trainer.js";
import type { TrainingImages } from "./training-images.js";

/** What images gave for a share of the trained weights. */
export interface ShareRecord {
  share: number;
  loss: number;
  accuracy: number;
}

const SHARES = 10;

/**
 * Tests the weights between those before training and the trained ones in steps of 0.1 (WiSE-FT). The trainer
 * holds the trained weights before and after.
 */
export async function sweepShares(
  from: ArtifactContent,
  on: Pick<TrainedOn, "trainer" | "texts">,
  images: TrainingImages,
  batchSize: number,
): Promise<ShareRecord[]> {
  const { trainer } = on;
  const changed = await changedTensors(from, trainer);
  const records: ShareRecord[] = [];
  for (let i = 0; i <= SHARES; i++) {
    const share = i / SHARES;
    for (const { name, before, after } of changed)
      await trainer.write(name, interpolate(before, after, share));
    const { loss, accuracy } = await validate(on, images, 0, batchSize);
    records.push({ share, loss, accuracy });
  }
  return records;
}

interface ChangedTensor {
  name: string;
  before: Float32Array;
  after: Float32Array;
}

/** The trained tensors. Of an adapter the product counts, which is linear in B, whose start is 0. */
async function changedTensors(from: ArtifactContent, trainer: Trainer): Promise<ChangedTensor[]> {
  const changed: ChangedTensor[] = [];
  for (const name of trainer.shapes.keys()) {
    const stored = from.tensors.get(name);
    if (!stored && name.endsWith(".a")) continue;
    const after = await trainer.read(name);
    changed.push({ name, before: stored ? await readFloats(stored) : new Float32Array(after.length), after });
  }
  return changed;
}
