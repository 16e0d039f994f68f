import type { Embeddings } from "../../embeddings.js";
import { TorchclipError } from "../../errors.js";
import { nearestHits, type StoredIndex } from "../../search/stored.js";
import { pathInside } from "../../util/inside.js";
import type { Shard, ShardAnswer } from "./shard.js";

/** Pixels of a thumbnail. */
const SIDE = 256;

/** A shard that is a file of this machine. */
export class FileShard implements Shard {
  /**
   * @param stored Is closed with the shard.
   * @param images Folder of the images that may be shown.
   */
  constructor(
    private readonly stored: StoredIndex,
    private readonly images: string | undefined,
    private readonly autoRotate: boolean,
  ) {}

  get where(): string {
    return this.stored.file;
  }

  get rows(): number {
    return this.stored.index.rows;
  }

  get hasImages(): boolean {
    return this.images !== undefined;
  }

  async nearest(query: Embeddings, count: number): Promise<ShardAnswer> {
    const { rows } = this;
    return { rows, hits: await nearestHits(this.stored, query, count) };
  }

  async thumbnail(row: number): Promise<Uint8Array | undefined> {
    const name = this.stored.names.at(row);
    if (this.images === undefined || !name) return undefined;
    const file = await insideOf(this.images, name);
    if (file === undefined) return undefined;
    const { thumbnail } = await import("../../report/images.js"); // with what draws text: not at the start
    return thumbnail(file, SIDE, { autoRotate: this.autoRotate });
  }

  close(): void {
    this.stored.index.close();
  }
}

/** The file of an index's image. What is not inside the folder does not exist for clients. */
async function insideOf(folder: string, name: string): Promise<string | undefined> {
  try {
    return await pathInside(folder, name);
  } catch (error) {
    if (error instanceof TorchclipError) return undefined;
    throw error;
  }
}
