import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { freeMemory } from "../util/free-memory.js";
import type { BodyBudget } from "./budget.js";
import { problemBody, problemOf, RequestError } from "./errors.js";
import { setLongStringsAside } from "./json-body.js";
import type { ApiKeys } from "./keys.js";
import type { ServerMetrics } from "./metrics.js";
import type { ServedModels } from "./models.js";
import { configOf, DOCS, sendJson, type RouteConfig } from "./routes/parts.js";
import { RequestState, setState, STATE_DECORATOR, stateOf } from "./state.js";

/** What the hooks need of the server. */
export interface HookParts {
  models: ServedModels;
  metrics: ServerMetrics;
  keys: ApiKeys;
  budget: BodyBudget;
  bodyLimit: number;
  /** Requests that are in work. */
  states: Set<RequestState>;
  isClosing: () => boolean;
}

/** What happens to every request before and after its route. */
export function addHooks(app: FastifyInstance, parts: HookParts): void {
  app.decorateRequest(STATE_DECORATOR, null);
  app.addHook("onRequest", (request, reply, done) => {
    const state = new RequestState();
    setState(request, state);
    parts.states.add(state);
    // The answer's stream, for that of the request is closed as soon as the body was read.
    reply.raw.once("close", () => {
      if (!reply.raw.writableFinished) state.controller.abort(new Error("the client went away"));
      else if (state.body) freeMemory(state.body);
      parts.states.delete(state);
      parts.budget.giveBack(state.bytes);
      state.bytes = 0;
    });
    try {
      admit(request, state, configOf(request.routeOptions.config), parts);
      done();
    } catch (error) {
      done(error as Error);
    }
  });
  app.addHook("preValidation", (request, _reply, done) => {
    dropNulls(request.body);
    done();
  });
  app.addHook("onSend", (_request, reply, _payload, done) => {
    // A connection that is kept would hold up the end of the server.
    if (parts.isClosing()) void reply.header("connection", "close");
    done();
  });
  app.addHook("onResponse", (request, reply, done) => {
    logAnswer(request, reply, parts.metrics);
    done();
  });
  jsonParser(app);
  app.setErrorHandler((error, request, reply) => tellError(error, request, reply));
  app.setNotFoundHandler((request, reply) => {
    const message = `there is no ${request.method} ${request.url.split("?")[0] ?? ""}; see GET /docs`;
    return tellError(new RequestError(404, "E_NOT_FOUND", message), request, reply);
  });
}

/** Refuses a request before its body is read: without a key, too large, or while the server is full. */
function admit(request: FastifyRequest, state: RequestState, config: RouteConfig, parts: HookParts): void {
  const { keys, models, budget, bodyLimit } = parts;
  const isPublic = config.isPublic || request.routeOptions.url?.startsWith(DOCS);
  if (keys.required && !isPublic && !keys.accepts(request.headers.authorization))
    throw new RequestError(401, "E_API_KEY", "an API key is needed: Authorization: Bearer KEY");
  if (!config.usesModel) return;
  const encoding = request.headers["content-encoding"] ?? "identity";
  if (encoding !== "identity")
    throw new RequestError(
      415,
      "E_MEDIA_TYPE",
      "compressed bodies are not read; images are compressed already",
    );
  const length = Number(request.headers["content-length"] ?? bodyLimit);
  if (length > bodyLimit)
    throw new RequestError(413, "E_BODY_TOO_LARGE", `the body has more than ${bodyLimit} bytes`);
  if (models.areFull)
    throw new RequestError(429, "E_BUSY", "too many images and texts wait already; try again later");
  budget.take(length);
  state.bytes = length;
}

/** A field that is null counts as one that is not there: several clients send all fields that they know. */
function dropNulls(body: unknown): void {
  if (typeof body !== "object" || body === null) return;
  for (const [name, value] of Object.entries(body)) {
    if (value === null) Reflect.deleteProperty(body, name);
  }
}

/** JSON alone is parsed, with its long strings set aside; the form of Immich has a parser of its own. */
function jsonParser(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (request, body: Buffer, done) => {
    try {
      const { text, strings } = setLongStringsAside(body);
      const state = stateOf(request);
      state.body = body;
      state.strings = strings;
      void parse(request, text, done);
    } catch (error) {
      done(error as Error);
    }
  });
}

async function tellError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const state = stateOf(request);
  const config = configOf(request.routeOptions.config);
  const problem = problemOf(error, config.imageStatus);
  state.code = problem.code;
  if (problem.status === 500) request.log.error({ err: error }, "defect");
  if (problem.status === 502) request.log.error({ err: error }, "shard");
  if (problem.retryAfter !== undefined) void reply.header("retry-after", String(problem.retryAfter));
  if (problem.status === 401) void reply.header("www-authenticate", "Bearer");
  return sendJson(reply.code(problem.status), problemBody(problem, config.errors));
}

/** A line of the log and the metrics: the route's pattern, no address, no header, nothing of the body. */
function logAnswer(request: FastifyRequest, reply: FastifyReply, metrics: ServerMetrics): void {
  const { began, model, items, code } = stateOf(request);
  const route = request.routeOptions.url ?? "none";
  const seconds = (performance.now() - began) / 1000;
  const { statusCode: status } = reply;
  metrics.answered({ route, status, seconds, code });
  const facts = {
    method: request.method,
    route,
    status,
    ms: Math.round(seconds * 1e4) / 10,
    model,
    items,
    code,
  };
  request.log.info(facts, "answered");
}
