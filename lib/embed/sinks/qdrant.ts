import { TorchclipError } from "../../errors.js";
import { qdrantApiKey } from "../../settings.js";
import {
  checkDim,
  checkModel,
  noTable,
  talking,
  type OpenSink,
  type Sink,
  type SinkAbout,
  type SinkRow,
  type StoredName,
} from "./sink.js";
import type { QdrantTarget } from "./target.js";

/** Points that are asked for at once. */
const PAGE = 10_000;
/** Milliseconds that one request may take. */
const TIME_LIMIT = 120_000;

/** Opens a collection of a Qdrant server over its REST interface (https://api.qdrant.tech). */
export async function openQdrant(target: QdrantTarget, { create, about }: OpenSink): Promise<Sink> {
  const place = `the collection ${target.collection} of ${target.url}`;
  return talking(place, async () => {
    const sink = new QdrantSink(target, place, about);
    await sink.prepare(create);
    return sink;
  });
}

interface Payload {
  name?: string;
  model?: string;
}

interface Point {
  id: string;
  payload?: Payload | null;
}

interface CollectionInfo {
  config?: { params?: { vectors?: { size?: number } } };
}

interface ScrolledPoints {
  points: Point[];
  next_page_offset?: string | null;
}

class QdrantSink implements Sink {
  /** A value is sent as JSON: sign, nine digits, point, comma. */
  readonly valueBytes = 15;

  constructor(
    private readonly target: QdrantTarget,
    private readonly place: string,
    private readonly about: SinkAbout,
  ) {}

  async prepare(create: boolean): Promise<void> {
    const { place, about } = this;
    const info = await this.request<CollectionInfo>("GET", "", undefined, true);
    if (info === undefined) {
      if (!create) throw noTable(place);
      await this.createCollection();
      return;
    }
    checkDim(place, info.config?.params?.vectors?.size, about);
    const query = { limit: 1, with_payload: ["model"], with_vector: false };
    const { points } = await this.request<ScrolledPoints>("POST", "/points/scroll", query);
    checkModel(place, points.at(0)?.payload?.model, about);
  }

  /** The source is indexed, because a run with --prune asks for the points of one source. */
  private async createCollection(): Promise<void> {
    await this.request("PUT", "", { vectors: { size: this.about.dim, distance: "Cosine" } });
    await this.request("PUT", "/index?wait=true", { field_name: "source", field_schema: "keyword" });
  }

  existing(ids: readonly string[]): Promise<StoredName[]> {
    return this.talk(async () => {
      const query = { ids: ids.map(uuid), with_payload: ["name"], with_vector: false };
      const points = await this.request<Point[]>("POST", "/points", query);
      return points.map(({ id, payload }) => ({ id: hex(id), name: payload?.name ?? "" }));
    });
  }

  async upsert(rows: readonly SinkRow[]): Promise<void> {
    const { source, kind, model } = this.about;
    const points = rows.map(({ id, name, embedding }) => ({
      id: uuid(id),
      vector: Array.from(embedding, (value) => Number(value.toPrecision(9))),
      payload: { name, source, kind, model },
    }));
    await this.talk(() => this.request("PUT", "/points?wait=true", { points }));
  }

  async rename(rows: readonly StoredName[]): Promise<void> {
    const { source } = this.about;
    for (const { id, name } of rows) {
      const change = { payload: { name, source }, points: [uuid(id)] };
      await this.talk(() => this.request("POST", "/points/payload?wait=true", change));
    }
  }

  async *ids(): AsyncGenerator<string[]> {
    const filter = { must: [{ key: "source", match: { value: this.about.source } }] };
    const what = { filter, limit: PAGE, with_payload: false, with_vector: false };
    for (let offset: string | null | undefined; ;) {
      const query = { ...what, ...(offset ? { offset } : {}) };
      const page = await this.talk(() => this.request<ScrolledPoints>("POST", "/points/scroll", query));
      yield page.points.map(({ id }) => hex(id));
      offset = page.next_page_offset;
      if (!offset) return;
    }
  }

  async remove(ids: readonly string[]): Promise<void> {
    await this.talk(() => this.request("POST", "/points/delete?wait=true", { points: ids.map(uuid) }));
  }

  close(): Promise<void> {
    return Promise.resolve(); // requests leave nothing open
  }

  private talk<T>(work: () => Promise<T>): Promise<T> {
    return talking(this.place, work);
  }

  /** The `result` of the server's answer. With `isOptional`, 404 is undefined. */
  private async request<T = unknown>(method: string, path: string, body?: unknown): Promise<T>;
  private async request<T = unknown>(
    method: string,
    path: string,
    body: unknown,
    isOptional: true,
  ): Promise<T | undefined>;
  private async request<T>(
    method: string,
    path: string,
    body?: unknown,
    isOptional = false,
  ): Promise<T | undefined> {
    const { url, collection } = this.target;
    const key = qdrantApiKey();
    const response = await fetch(`${url}/collections/${encodeURIComponent(collection)}${path}`, {
      method,
      headers: { "content-type": "application/json", ...(key ? { "api-key": key } : {}) },
      body: body === undefined ? undefined : JSON.stringify(body),
      redirect: "error", // the key is for this server alone
      signal: AbortSignal.timeout(TIME_LIMIT),
    });
    const text = await response.text();
    if (response.ok) return (JSON.parse(text) as { result: T }).result;
    if (response.status === 404 && isOptional) return undefined;
    throw this.refused(response.status, text);
  }

  private refused(status: number, text: string): TorchclipError {
    const hint = status === 401 || status === 403 ? " (QDRANT_API_KEY holds the key)" : "";
    const message = `${this.place}: the server answers ${status}${hint}: ${reasonOf(text)}`;
    return new TorchclipError("E_DATABASE", message, { subject: this.place });
  }
}

/** What an error answer says: { "status": { "error": "…" } }. */
function reasonOf(text: string): string {
  try {
    const { status } = JSON.parse(text) as { status?: { error?: string } };
    return status?.error ?? text.slice(0, 200);
  } catch {
    return text.slice(0, 200);
  }
}

/** Qdrant takes ids as UUIDs: 32 hex digits with hyphens. */
function uuid(id: string): string {
  return id.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function hex(id: string): string {
  return id.replaceAll("-", "");
}
