import type { FastifyReply } from "fastify";
import type { ErrorForm } from "../errors.js";
import type { ServerMetrics } from "../metrics.js";
import type { ServedModels } from "../models.js";
import type { ServedProbe } from "../options.js";
import type { ServedIndex } from "../served-index.js";

/** Where the OpenAPI document and its page are; the plugin's routes have no config. */
export const DOCS = "/docs";

/** What routes share. */
export interface ServerParts {
  models: ServedModels;
  indexes: ReadonlyMap<string, ServedIndex>;
  probes: ReadonlyMap<string, ServedProbe>;
  metrics: ServerMetrics;
  allowUrls: boolean;
  /** Whether the models are warmed up and the server is not closing. */
  isReady: () => boolean;
}

/** What the hooks know of a route. */
export interface RouteConfig {
  /** Default "openai". */
  errors: ErrorForm;
  /** Whether it gives a model work, so that it is refused early where every model is full. */
  usesModel: boolean;
  /** Whether it is answered without an API key. */
  isPublic: boolean;
  /** The status for an image that cannot be read: 400 where it is one of a list (default), 422 alone. */
  imageStatus: 400 | 422;
}

const DEFAULTS: RouteConfig = { errors: "openai", usesModel: false, isPublic: false, imageStatus: 400 };

/** A route's `config` with its defaults. */
export function routeConfig(given: Partial<RouteConfig>): object {
  return { ...DEFAULTS, ...given };
}

/** The config of the route of a request; the defaults where no route was found. */
export function configOf(given: unknown): RouteConfig {
  return { ...DEFAULTS, ...(given as Partial<RouteConfig> | undefined) };
}

/**
 * Sends JSON as it is. Fastify's serializers, made of schemas, write lists of numbers more slowly than
 * JSON.stringify.
 */
export function sendJson(reply: FastifyReply, value: object): FastifyReply {
  return sendJsonText(reply, JSON.stringify(value));
}

/** Sends a text that is JSON. */
export function sendJsonText(reply: FastifyReply, text: string): FastifyReply {
  return reply.type("application/json; charset=utf-8").send(text);
}
