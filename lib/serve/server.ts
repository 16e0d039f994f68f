import type { FastifyInstance } from "fastify";
import type { AddressInfo } from "node:net";
import { TorchclipError } from "../errors.js";
import { packageVersion } from "../util/package.js";
import { BodyBudget } from "./budget.js";
import { addHooks } from "./hooks.js";
import { ApiKeys } from "./keys.js";
import { ServerMetrics } from "./metrics.js";
import { ServedModels } from "./models.js";
import { openIndexes } from "./open-indexes.js";
import { checkServerOptions, type CheckedServerOptions, type ServerOptions } from "./options.js";
import { loadServerPackages, type ServerPackages } from "./packages.js";
import { makeModels, readProbes } from "./resources.js";
import { classifyRoutes } from "./routes/classify.js";
import { embeddingRoutes } from "./routes/embeddings.js";
import { immichRoutes } from "./routes/immich.js";
import { pageRoutes } from "./routes/page.js";
import { DOCS, type ServerParts } from "./routes/parts.js";
import { searchRoutes } from "./routes/search.js";
import { statusRoutes } from "./routes/status.js";
import type { ServedIndex } from "./served-index.js";
import type { RequestState } from "./state.js";

/** Milliseconds between looks for requests while a server closes. */
const IDLE_CHECK = 50;

/** Where a server listens. */
export interface ListenOptions {
  /** Default 127.0.0.1: this machine alone. */
  host?: string;
  /** Default 8000; 0: one that is free. */
  port?: number;
}

/**
 * An HTTP server for embeddings, made by `createServer`. Requests of all clients share batches; the answer to
 * a request does not depend on the others.
 */
export class ClipServer {
  private isWarm = false;
  private closing: Promise<boolean> | undefined;

  /** @internal */
  constructor(
    /** For routes and plugins of one's own, to be added before `listen`. */
    readonly app: FastifyInstance,
    private readonly models: ServedModels,
    private readonly indexes: ReadonlyMap<string, ServedIndex>,
    private readonly states: ReadonlySet<RequestState>,
    private readonly drainTimeout: number,
  ) {}

  /**
   * Listens, then runs an image and a text through each model; `GET /health/ready` is 200 from then on.
   * Rejects with E_ARGUMENT where the address cannot be listened on.
   *
   * @returns The server's address: "http://127.0.0.1:8000".
   */
  async listen({ host = "127.0.0.1", port = 8000 }: ListenOptions = {}): Promise<string> {
    try {
      await this.app.listen({ host, port });
    } catch (cause) {
      const message = `cannot listen on ${host}, port ${port}: ${(cause as Error).message}`;
      throw new TorchclipError("E_ARGUMENT", message, { subject: "port", cause });
    }
    await this.warmUp();
    const address = this.app.server.address() as AddressInfo;
    return `http://${host.includes(":") ? `[${host}]` : host}:${address.port}`;
  }

  /** Runs an image and a text through each model. `listen` does this itself. */
  async warmUp(): Promise<void> {
    for (const model of this.models.all) await model.warmUp();
    this.isWarm = true;
  }

  /** Whether `close` was called. */
  get isClosing(): boolean {
    return this.closing !== undefined;
  }

  /** Whether the models are warmed up and the server is not closing. */
  get isReady(): boolean {
    return this.isWarm && !this.isClosing;
  }

  /**
   * Takes no more requests, answers those that are in work, and ends those that are not answered within
   * `drainTimeout`. The models stay open. Safe to call twice.
   *
   * @returns Whether all requests were answered.
   */
  close(): Promise<boolean> {
    this.closing ??= this.drain();
    return this.closing;
  }

  private async drain(): Promise<boolean> {
    let isComplete = true;
    const timer = setTimeout(() => {
      isComplete = this.states.size === 0;
      for (const { controller } of this.states) controller.abort(new Error("the server ends"));
      this.app.server.closeAllConnections();
    }, this.drainTimeout);
    // A connection without a request, as clients keep one ready, would hold up the end.
    const idle = setInterval(() => {
      if (this.states.size === 0) this.app.server.closeAllConnections();
    }, IDLE_CHECK);
    await this.app.close();
    clearTimeout(timer);
    clearInterval(idle);
    await Promise.all(this.models.all.map(({ batcher }) => batcher.drain()));
    for (const index of this.indexes.values()) index.close();
    return isComplete;
  }
}

/**
 * Makes a server of loaded models. It needs packages that are optional: fastify, @fastify/multipart,
 * @fastify/swagger, @fastify/swagger-ui and prom-client.
 *
 * Throws E_ARGUMENT; E_PACKAGE_MISSING, with the command that installs the packages; E_SHARD where the server of
 * a shard does not answer; the errors of indexes and probes.
 *
 * @example
 * const clip = await load("ViT-B/32");
 * const server = await createServer({ models: { "ViT-B/32": clip }, apiKeys: [key] });
 * await server.listen({ port: 8000 });
 * process.once("SIGTERM", () => server.close().then(() => clip.close()));
 */
export async function createServer(given: ServerOptions): Promise<ClipServer> {
  const options = checkServerOptions(given);
  const packages = await loadServerPackages();
  const metrics = new ServerMetrics(packages.prometheus);
  const models = new ServedModels(makeModels(options, metrics));
  const probes = await readProbes(options, models);
  const indexes = await openIndexes(options, models);
  try {
    return await makeServer({ options, packages, metrics, models, probes, indexes });
  } catch (error) {
    for (const index of indexes.values()) index.close();
    throw error;
  }
}

/** What a server is made of. */
interface ServerResources {
  options: CheckedServerOptions;
  packages: ServerPackages;
  metrics: ServerMetrics;
  models: ServedModels;
  probes: ServerParts["probes"];
  indexes: ServerParts["indexes"];
}

async function makeServer(resources: ServerResources): Promise<ClipServer> {
  const { options, packages, metrics, models, probes, indexes } = resources;
  const app = packages.fastify({
    logger: loggerOptions(options.logger),
    logController: new packages.LogController({ disableRequestLogging: true }),
    bodyLimit: options.bodyLimit,
    requestTimeout: options.requestTimeout,
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false } },
    routerOptions: { maxParamLength: 500 },
  });
  const states = new Set<RequestState>();
  const server = new ClipServer(app, models, indexes, states, options.drainTimeout);
  const keys = new ApiKeys(options.apiKeys);
  const isClosing = () => server.isClosing;
  const budget = new BodyBudget(options.bodyBudget);
  addHooks(app, { models, metrics, keys, budget, bodyLimit: options.bodyLimit, states, isClosing });
  await addPlugins(app, packages, options);
  const { allowUrls } = options;
  const isReady = () => server.isReady;
  addRoutes(app, { models, indexes, probes, metrics, allowUrls, isReady });
  return server;
}

function loggerOptions(logger: boolean | object): boolean | object {
  // Standard output is for results.
  return logger === true ? { level: "info", stream: process.stderr } : logger;
}

async function addPlugins(
  app: FastifyInstance,
  { multipart, swagger, swaggerUi }: ServerPackages,
  { bodyLimit, apiKeys }: CheckedServerOptions,
): Promise<void> {
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  await app.register(multipart, { limits: { fileSize: bodyLimit, files: 1, fields: 8, fieldSize: 1 << 20 } });
  const security = apiKeys.length > 0 ? [{ key: [] }] : [];
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "torchclip",
        description: "CLIP embeddings, classification and search",
        version: packageVersion(),
      },
      components: { securitySchemes: { key: { type: "http", scheme: "bearer" } } },
      security,
    },
  });
  await app.register(swaggerUi, { routePrefix: DOCS });
}

function addRoutes(app: FastifyInstance, parts: ServerParts): void {
  embeddingRoutes(app, parts);
  classifyRoutes(app, parts);
  searchRoutes(app, parts);
  immichRoutes(app, parts);
  statusRoutes(app, parts);
  pageRoutes(app);
}
