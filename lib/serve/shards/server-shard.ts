import type { Embeddings } from "../../embeddings.js";
import { TorchclipError } from "../../errors.js";
import { redactUrl } from "../../redact.js";
import { shown, type Untrusted } from "../../util/untrusted.js";
import { encodeVector } from "../encoding.js";
import { ShardClient, type JsonAnswer } from "./client.js";
import type { Shard, ShardAnswer, ShardCall, ShardHit } from "./shard.js";

/** An index of another server, as its `GET /v1/indexes` describes it. */
interface Described {
  id: string;
  fingerprint: string;
  rows: number;
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

/** Of one shard; sums of many shards are whole numbers that doubles hold exactly. */
const MOST_ROWS = 2 ** 40;
const LONGEST_NAME = 8192;
/** Numbers of shards, then that of a row. */
const PLACE = /^\d{1,10}(-\d{1,10}){0,15}$/;

/** A shard that another torchclip server searches. */
export class ServerShard implements Shard {
  private constructor(
    private readonly client: ShardClient,
    private readonly index: string,
    /** Of the model that made the index. */
    readonly fingerprint: string,
    /** Of the last answer. */
    public rows: number,
  ) {}

  /**
   * Asks the server what its index is. Rejects with E_INDEX_NOT_FOUND where it has none of that name, and with
   * E_SHARD where it does not answer.
   */
  static async connect({ url, index, apiKey, timeout }: ServerShardOptions): Promise<ServerShard> {
    const client = new ShardClient(url, apiKey, timeout);
    const all = await client.getJson("v1/indexes", readIndexes);
    const found = all.find(({ id }) => id === index);
    if (found) return new ServerShard(client, index, found.fingerprint, found.rows);
    const names = all.length > 0 ? `it has ${all.map(({ id }) => shown(id)).join(", ")}` : "it has none";
    const message = `${client.where} serves no index ${index}: ${names}`;
    throw new TorchclipError("E_INDEX_NOT_FOUND", message, { subject: redactUrl(url) });
  }

  get where(): string {
    return `the index ${this.index} of ${this.client.where}`;
  }

  async nearest({ data }: Embeddings, count: number, call: ShardCall): Promise<ShardAnswer> {
    const asked = { index: this.index, vector: encodeVector(data, "base64"), top_k: count };
    const answer = await this.client.postJson("v1/search", asked, call, (json) => {
      this.checkFingerprint(json.headers.get("x-torchclip-fingerprint"));
      return readHits(json, count);
    });
    this.rows = answer.rows;
    return answer;
  }

  async thumbnail(place: string, call: ShardCall): Promise<Uint8Array | undefined> {
    if (!PLACE.test(place)) return undefined;
    return this.client.getBytes(`v1/indexes/${encodeURIComponent(this.index)}/images/${place}`, call);
  }

  close(): void {
    // Connections end by themselves.
  }

  private checkFingerprint(found: string | null): void {
    if (found === this.fingerprint) return;
    const what = found === null ? "names no model" : `is of a model with the fingerprint ${shown(found)}`;
    throw new TorchclipError(
      "E_SHARD",
      `the answer of ${this.where} ${what}; at the start it was ${this.fingerprint}`,
    );
  }
}

function readIndexes({ body, check }: JsonAnswer): Described[] {
  const list = check.array(check.object(body, "its body").data, "data");
  return list.map((each, i) => {
    const about = check.object(each, `data[${i}]`);
    return {
      id: check.text(about.id, "id"),
      fingerprint: check.text(about.fingerprint, "fingerprint", 128),
      rows: check.count(about.rows, "rows", 0, MOST_ROWS),
    };
  });
}

function readHits({ body, check }: JsonAnswer, count: number): ShardAnswer {
  const answer = check.object(body, "its body");
  const rows = check.count(answer.rows, "rows", 0, MOST_ROWS);
  const hits = check.array(answer.data, "data", count).map((each, i): ShardHit => {
    const hit = check.object(each, `data[${i}]`);
    return {
      rank: i + 1,
      row: check.count(hit.row, "row", 0, rows - 1),
      name: check.text(hit.name, "name", LONGEST_NAME),
      score: check.number(hit.score, "score"),
      place: placeOf(hit.image, check),
    };
  });
  checkOrder(hits, check);
  return { rows, hits };
}

/** The last part of the path of an image. */
function placeOf(image: unknown, check: Untrusted): string | undefined {
  if (image === undefined) return undefined;
  const place = check.text(image, "image", LONGEST_NAME).split("/").at(-1) ?? "";
  if (!PLACE.test(place)) throw check.error("image is no path of a thumbnail");
  return place;
}

/** The best first, equal scores by row number: so no row stands twice. */
function checkOrder(hits: readonly ShardHit[], check: Untrusted): void {
  for (const [i, { score, row }] of hits.entries()) {
    const before = hits.at(i - 1);
    if (i === 0 || !before) continue;
    const isBehind = score < before.score || (score === before.score && row > before.row);
    if (!isBehind) throw check.error(`data[${i}] does not come after the one before it`);
  }
}
