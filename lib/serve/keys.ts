import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/**
 * The keys that a server accepts. A key is compared by its HMAC under a secret of the process, with every
 * key of the list, so that the time says nothing about how much of a key is right or which one it is.
 */
export class ApiKeys {
  private readonly secret = randomBytes(32);
  private readonly digests: readonly Buffer[];

  constructor(keys: readonly string[]) {
    this.digests = keys.map((key) => this.digest(key));
  }

  /** Whether requests need a key. */
  get required(): boolean {
    return this.digests.length > 0;
  }

  /**
   * Whether the value of an Authorization header, `Bearer KEY`, holds one of the keys.
   *
   * @example
   * new ApiKeys(["secret"]).accepts("Bearer secret"); // true
   */
  accepts(authorization: string | undefined): boolean {
    const [, key = ""] = /^Bearer +(\S+) *$/i.exec(authorization ?? "") ?? [];
    const given = this.digest(key);
    let found = false;
    for (const known of this.digests) {
      if (timingSafeEqual(given, known)) found = true;
    }
    return found;
  }

  private digest(key: string): Buffer {
    return createHmac("sha256", this.secret).update(key).digest();
  }
}
