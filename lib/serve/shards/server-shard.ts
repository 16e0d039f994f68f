import type { Embeddings } from "../../embeddings.js";
import { TorchclipError } from "../../errors.js";
import { redactUrl } from "../../redact.js";
import type { StoredHit } from "../../search/stored.js";
import { encodeVector } from "../encoding.js";
import { ShardClient, type JsonAnswer } from "./client.js";
import type { Shard, ShardAnswer } from "./shard.js";

/** An index of another server, as its `GET /v1/indexes` describes it. */
interface Described {
  id: string;
  fingerprint: string;
  rows: number;
  hasImages: boolean;
}

export interface ServerShardOptions {
  /** Address of the server: "http://10.0.0.2:8000". */
  url: string;
  /** Name of its index. */
  index: string;
  apiKey: string | undefined;
  /** Milliseconds for an answer. */
  timeout: number;
}

/** A shard that another torchclip server searches. */
export class ServerShard implements Shard {
  rows: number;
  readonly hasImages: boolean;

  private constructor(
    private readonly client: ShardClient,
    private readonly index: string,
    /** Of the model that made the index. */
    readonly fingerprint: string,
    { rows, hasImages }: Described,
  ) {
    this.rows = rows;
    this.hasImages = hasImages;
  }

  /**
   * Asks the server what its index is. Rejects with E_INDEX_NOT_FOUND where it has none of that name, and with
   * E_SHARD where it does not answer.
   */
  static async connect({ url, index, apiKey, timeout }: ServerShardOptions): Promise<ServerShard> {
    const client = new ShardClient(url, apiKey, timeout);
    const all = await client.getJson("v1/indexes", readIndexes);
    const found = all.find(({ id }) => id === index);
    if (found) return new ServerShard(client, index, found.fingerprint, found);
    const names = all.length > 0 ? `it has ${all.map(({ id }) => id).join(", ")}` : "it has none";
    const message = `${client.where} serves no index ${index}: ${names}; URL#NAME names another one`;
    throw new TorchclipError("E_INDEX_NOT_FOUND", message, { subject: redactUrl(url) });
  }

  get where(): string {
    return `the index ${this.index} of ${this.client.where}`;
  }

  async nearest({ data }: Embeddings, count: number, signal: AbortSignal): Promise<ShardAnswer> {
    const asked = { index: this.index, vector: encodeVector(data, "base64"), top_k: count };
    const answer = await this.client.postJson("v1/search", asked, signal, (json) => {
      const fingerprint = json.headers.get("x-torchclip-fingerprint");
      if (fingerprint === this.fingerprint) return readHits(json, count);
      throw new TorchclipError("E_SHARD", `${this.where} is of another model than before`);
    });
    this.rows = answer.rows;
    return answer;
  }

  async thumbnail(row: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    if (!this.hasImages) return undefined;
    return this.client.getBytes(`v1/indexes/${encodeURIComponent(this.index)}/images/${row}`, signal);
  }

  close(): void {
    // Connections end by themselves.
  }
}

function readIndexes({ body, check }: JsonAnswer): Described[] {
  const list = check.array(check.object(body, "its body").data, "data");
  return list.map((each, i) => {
    const about = check.object(each, `data[${i}]`);
    return {
      id: check.text(about.id, "id"),
      fingerprint: check.text(about.fingerprint, "fingerprint"),
      rows: check.count(about.rows, "rows"),
      hasImages: check.boolean(about.images, "images"),
    };
  });
}

function readHits({ body, check }: JsonAnswer, count: number): ShardAnswer {
  const answer = check.object(body, "its body");
  const rows = check.count(answer.rows, "rows");
  const hits = check.array(answer.data, "data", count).map((each, i): StoredHit => {
    const hit = check.object(each, `data[${i}]`);
    return {
      rank: i + 1,
      row: check.count(hit.row, "row", 0, rows - 1),
      name: check.text(hit.name, "name"),
      score: check.number(hit.score, "score"),
    };
  });
  return { rows, hits };
}
