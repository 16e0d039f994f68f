import type { Location } from "./location.js";
import { LocalStore } from "./local-store.js";
import type { S3Options } from "./s3.js";
import type { Store } from "./store.js";

/** Opens a store; nothing is created before something is written. E_PACKAGE_MISSING for S3 without its package. */
export async function openStore(location: Location, s3: S3Options = {}): Promise<Store> {
  if (location.kind === "local") return new LocalStore(location.path);
  const { openS3Store } = await import("./s3-store.js");
  return openS3Store(location, s3);
}
