import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Dataset } from "../dataset.js";
import { splitNames } from "../formats/folder.js";
import { webDataset } from "../formats/webdataset.js";
import type { DatasetOptions } from "../types.js";
import { atRoot } from "./archive.js";
import { bad, make } from "./common.js";
import { CLIP_PROMPTS, type ClipSetName } from "./prompts.js";

/**
 * A set as CLIP_benchmark keeps it on the hub (`clip-benchmark/wds_…`): ROOT/SPLIT/0.tar, 1.tar, … with
 * class ids in the order of CLIP_PROMPTS. These have VTAB's splits, which the publishers' files do not tell.
 * Undefined where the root holds no such shards.
 */
export async function shardedSet(name: ClipSetName, o: DatasetOptions): Promise<Dataset | undefined> {
  if (o.root === undefined) return undefined;
  const { classes } = CLIP_PROMPTS[name];
  for (const split of splitNames(o.split ?? "test")) {
    const folder = join(o.root, split);
    const shards = (await readdir(folder).catch(() => [])).filter((file) => /^\d+\.tar$/.test(file));
    if (shards.length === 0) continue;
    checkWhole(folder, shards);
    // Ids alone: of some sets the classes are called 3, 4, … themselves.
    const ids = classes.map((_, id) => String(id));
    const data = await webDataset(join(folder, `{0..${shards.length - 1}}.tar`), {
      ...o,
      split,
      classes: ids,
    });
    const { origin: source } = atRoot(o.root);
    return make(name, { split, classes: [...classes], samples: [...data], source, notes: data.notes });
  }
  return undefined;
}

/** The shards are numbered from 0 without a gap. */
function checkWhole(folder: string, shards: readonly string[]): void {
  const missing = shards.findIndex((_, i) => !shards.includes(`${i}.tar`));
  if (missing < 0) return;
  throw bad(folder, `${missing}.tar of ${shards.length} shards is missing`);
}
