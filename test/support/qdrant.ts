import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";

interface Point {
  id: string;
  vector: number[];
  payload: Record<string, unknown>;
}

interface Body {
  vectors?: { size: number };
  ids?: string[];
  points?: (Point | string)[];
  payload?: Record<string, unknown>;
  filter?: { must: { key: string; match: { value: unknown } }[] };
  limit?: number;
  offset?: string;
}

interface Answer {
  status: number;
  body: unknown;
}

const UUID = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/**
 * The part of Qdrant's REST interface that `embed --to` uses, with the answers that its documentation shows
 * (https://api.qdrant.tech/api-reference). It has points in memory, and searches nothing.
 */
export class QdrantModel {
  private readonly collections = new Map<string, { size: number; points: Map<string, Point> }>();
  private readonly server: Server;
  /** The points of each request that wrote some. */
  readonly upserts: number[] = [];

  /** `key`: what the header api-key must be. */
  constructor(private readonly key?: string) {
    this.server = createServer((request, response) => {
      void this.answer(request).then(({ status, body }) => {
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      });
    });
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  start(): Promise<void> {
    return new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  points(collection: string): Point[] {
    return [...(this.collections.get(collection)?.points.values() ?? [])];
  }

  private async answer(request: IncomingMessage): Promise<Answer> {
    if (this.key !== undefined && request.headers["api-key"] !== this.key)
      return failed(401, "Must provide an API key or an Authorization bearer token");
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const text = Buffer.concat(parts).toString();
    const body = (text === "" ? {} : JSON.parse(text)) as Body;
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const [, , name = "", ...rest] = pathname.split("/");
    return this.route(`${request.method} ${rest.join("/")}`.trim(), decodeURIComponent(name), body);
  }

  private route(route: string, name: string, body: Body): Answer {
    if (route === "PUT") {
      this.collections.set(name, { size: body.vectors!.size, points: new Map() });
      return done(true);
    }
    const collection = this.collections.get(name);
    if (!collection) return failed(404, `Not found: Collection \`${name}\` doesn't exist!`);
    const { size, points } = collection;
    if (route === "GET") return done({ config: { params: { vectors: { size, distance: "Cosine" } } } });
    if (route === "PUT index") return done({ status: "completed" });
    if (route === "PUT points") {
      this.upserts.push(body.points!.length);
      return upsert(body.points as Point[], size, points);
    }
    if (route === "POST points") return done(body.ids!.flatMap((id) => points.get(id) ?? []));
    if (route === "POST points/payload") {
      for (const id of body.points as string[]) Object.assign(points.get(id)!.payload, body.payload);
      return done({ status: "completed" });
    }
    if (route === "POST points/delete") {
      for (const id of body.points as string[]) points.delete(id);
      return done({ status: "completed" });
    }
    if (route === "POST points/scroll") return scroll(body, [...points.values()]);
    return failed(404, `no route ${route}`);
  }
}

function upsert(given: readonly Point[], size: number, points: Map<string, Point>): Answer {
  for (const { id, vector } of given) {
    if (!UUID.test(id)) return failed(400, `value ${id} is not a valid point ID`);
    if (vector.length !== size)
      return failed(400, `Wrong input: Vector dimension error: expected dim: ${size}, got ${vector.length}`);
  }
  for (const point of given) points.set(point.id, point);
  return done({ status: "completed" });
}

/** Pages of two points, so that a client has to ask again. */
function scroll({ filter, limit = 10, offset }: Body, points: readonly Point[]): Answer {
  const must = filter?.must ?? [];
  const matching = points
    .filter(({ payload }) => must.every(({ key, match }) => payload[key] === match.value))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  const rest = matching.filter(({ id }) => offset === undefined || id >= offset);
  const count = Math.min(limit, 2);
  return done({ points: rest.slice(0, count), next_page_offset: rest.at(count)?.id ?? null });
}

function done(result: unknown): Answer {
  return { status: 200, body: { result, status: "ok", time: 0.001 } };
}

function failed(status: number, error: string): Answer {
  return { status, body: { status: { error }, time: 0.001 } };
}
