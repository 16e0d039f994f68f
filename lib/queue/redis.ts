import type { Redis } from "ioredis";
import { TorchclipError } from "../errors.js";
import { redactUrl } from "../redact.js";
import { importOptional } from "../util/optional-package.js";

const FEATURE = "torchclip embed --queue";
const FIRST_ATTEMPTS = 5;
const LONGEST_PAUSE = 5000; // ms between attempts to connect again

/**
 * A connection to Redis. Once it is there it is made again whenever it breaks, and what is asked meanwhile
 * waits. Throws E_ARGUMENT for a URL that is none of Redis's, E_QUEUE where the server cannot be reached,
 * E_PACKAGE_MISSING without ioredis.
 */
export async function connectRedis(url: string): Promise<Redis> {
  if (!/^rediss?:\/\/[^/]/i.test(url))
    throw new TorchclipError("E_ARGUMENT", `--queue must be redis:// or rediss://HOST:PORT, not ${url}`, {
      subject: "queue",
    });
  const { Redis: Client } = await importOptional("ioredis", FEATURE, () => import("ioredis"));
  let connected = false;
  let problem: unknown;
  const redis = new Client(url, {
    lazyConnect: true,
    maxRetriesPerRequest: null,
    retryStrategy: (attempts) => {
      if (!connected && attempts >= FIRST_ATTEMPTS) return null;
      return Math.min(100 * 2 ** attempts, LONGEST_PAUSE);
    },
  });
  redis.on("error", (error: unknown) => (problem = error));
  try {
    await redis.connect();
    await redis.ping(); // also says where the password is wrong
    connected = true;
    return redis;
  } catch (error) {
    redis.disconnect();
    const cause = problem ?? error;
    throw new TorchclipError("E_QUEUE", `cannot reach Redis at ${redactUrl(url)}: ${reasonOf(cause)}`, {
      subject: "queue",
      cause,
    });
  }
}

/** The system's code where there is one: the message of a refused connection may be empty. */
function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return [message, code && !message.includes(code) ? code : ""].filter(Boolean).join(" ");
}
