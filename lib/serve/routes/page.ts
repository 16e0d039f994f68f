import type { FastifyInstance } from "fastify";
import { PAGE, PAGE_POLICY } from "../page/html.js";
import { routeConfig } from "./parts.js";

/** `GET /`: a page to try the models in a browser. It asks for what it shows with the user's key. */
export function pageRoutes(app: FastifyInstance): void {
  app.get("/", {
    schema: { hide: true },
    config: routeConfig({ isPublic: true }),
    handler: (_, reply) =>
      reply
        .type("text/html; charset=utf-8")
        .header("content-security-policy", PAGE_POLICY)
        .header("x-content-type-options", "nosniff")
        .header("referrer-policy", "no-referrer")
        .send(PAGE),
  });
}
