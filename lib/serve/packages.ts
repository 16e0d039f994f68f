import { readFileSync } from "node:fs";
import { join } from "node:path";
import { TorchclipError } from "../errors.js";
import { isNotFound } from "../util/optional-package.js";
import { packageRoot } from "../util/package.js";

/**
 * The packages that the server needs beside torchclip's own dependencies. They are optional peer
 * dependencies: a user who does not serve does not download them.
 *
 * @returns The modules. Throws E_PACKAGE_MISSING, with the command that installs them, where one is missing.
 */
export async function loadServerPackages() {
  try {
    const [fastify, multipart, swagger, swaggerUi, prometheus] = await Promise.all([
      import("fastify"),
      import("@fastify/multipart"),
      import("@fastify/swagger"),
      import("@fastify/swagger-ui"),
      import("prom-client"),
    ]);
    return {
      fastify: fastify.fastify,
      LogController: fastify.LogController,
      multipart: multipart.default,
      swagger: swagger.default,
      swaggerUi: swaggerUi.default,
      prometheus: prometheus.default,
    };
  } catch (cause) {
    throw isNotFound(cause) ? notInstalled(cause) : cause;
  }
}

export type ServerPackages = Awaited<ReturnType<typeof loadServerPackages>>;

function notInstalled(cause: Error): TorchclipError {
  const [reason] = cause.message.split("\n");
  const missing = `the server needs packages that are not installed (${reason})`;
  const message = `${missing}. ${installCommand()} adds them`;
  return new TorchclipError("E_PACKAGE_MISSING", message, { cause });
}

/** The command that installs what the server needs, in the versions that package.json asks for. */
export function installCommand(): string {
  const file = join(packageRoot, "package.json");
  const { peerDependencies } = JSON.parse(readFileSync(file, "utf8")) as {
    peerDependencies: Record<string, string>;
  };
  const wanted = ["fastify", "@fastify/multipart", "@fastify/swagger", "@fastify/swagger-ui", "prom-client"];
  return `npm install ${wanted.map((name) => `${name}@${peerDependencies[name] ?? "latest"}`).join(" ")}`;
}
