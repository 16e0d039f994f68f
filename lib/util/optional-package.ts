import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { TorchclipError } from "../errors.js";

/** Versions that are tested; the command in a message installs them. */
const TESTED: Record<string, string> = {
  "@aws-sdk/client-s3": "3.1169.0",
  "@lancedb/lancedb": "0.31.0",
  bullmq: "6.7.0",
  ioredis: "6.0.0",
};

/**
 * A module of a package that the user installs beside torchclip, loaded now. An ES module, where the package
 * has one: it is the instance that `import` gives. E_PACKAGE_MISSING, with the command that installs it,
 * where it is not there.
 *
 * @param specifier what is imported, e.g. "@langchain/core/embeddings"
 * @param feature what needs it, for the message
 */
export function requireOptional(specifier: string, feature: string): unknown {
  const require = createRequire(import.meta.url);
  try {
    return require(importedFile(specifier) ?? specifier);
  } catch (error) {
    throw missing(error, specifier, feature);
  }
}

/** The file that `import` would load; undefined where there is no import.meta.resolve, as in CommonJS. */
function importedFile(specifier: string): string | undefined {
  return typeof import.meta.resolve === "function"
    ? fileURLToPath(import.meta.resolve(specifier))
    : undefined;
}

/** What `load` imports: as `requireOptional`, for code that can wait. */
export async function importOptional<T>(
  specifier: string,
  feature: string,
  load: () => Promise<T>,
): Promise<T> {
  try {
    return await load();
  } catch (error) {
    throw missing(error, specifier, feature);
  }
}

/** What a module of an optional package requires itself, e.g. the Arrow of LanceDB. */
export function requireBeside(specifier: string, neighbour: string, feature: string): unknown {
  const own = createRequire(import.meta.url);
  try {
    return createRequire(own.resolve(neighbour))(specifier);
  } catch (error) {
    throw missing(error, specifier, feature);
  }
}

const NOT_FOUND = new Set<unknown>(["ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"]);

/** Whether an error of `import` or `require` says that a package is not there. */
export function isNotFound(error: unknown): error is NodeJS.ErrnoException {
  return NOT_FOUND.has((error as Partial<NodeJS.ErrnoException> | null)?.code);
}

/** The error of a package that is not there; any other error of loading it stays as it is. */
function missing(error: unknown, specifier: string, feature: string): unknown {
  const name = packageOf(specifier);
  // A package that is there may lack one of its own.
  if (!isNotFound(error) || !error.message.includes(`'${name}`)) return error;
  const version = TESTED[name] === undefined ? "" : `@${TESTED[name]}`;
  const advice = `install it with: npm install ${name}${version}`;
  const text = `${feature} needs the package ${name}, which is not installed; ${advice}`;
  return new TorchclipError("E_PACKAGE_MISSING", text, { subject: name, cause: error });
}

/** "@scope/name" of "@scope/name/path". */
function packageOf(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}
