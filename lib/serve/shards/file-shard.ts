import type { Embeddings } from "../../embeddings.js";
import { TorchclipError } from "../../errors.js";
import { nearestHits, type StoredIndex } from "../../search/stored.js";
import { pathInside } from "../../util/inside.js";
import type { Shard, ShardAnswer, ShardCall } from "./shard.js";

/** Codes of images that cannot be shown. Their messages name the file, which is nothing for clients. */
const IS_OF_IMAGE = /^E_(IMAGE_|TIMEOUT$)/;
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

  async nearest(query: Embeddings, count: number, { signal }: ShardCall): Promise<ShardAnswer> {
    const { rows } = this;
    const hits = await nearestHits(this.stored, query, count, { signal });
    if (this.images === undefined) return { rows, hits };
    return { rows, hits: hits.map((hit) => ({ ...hit, place: String(hit.row) })) };
  }

  async thumbnail(place: string): Promise<Uint8Array | undefined> {
    const name = /^\d{1,10}$/.test(place) ? this.stored.names.at(Number(place)) : undefined;
    if (this.images === undefined || !name) return undefined;
    const file = await insideOf(this.images, name);
    if (file === undefined) return undefined;
    const { thumbnail } = await import("../../report/images.js"); // with what draws text: not at the start
    try {
      return await thumbnail(file, SIDE, { autoRotate: this.autoRotate });
    } catch (error) {
      if (IS_OF_IMAGE.test((error as { code?: string }).code ?? "")) return undefined;
      throw error;
    }
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
