import { lookup, type LookupAddress } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";

/** Azure's metadata and DNS service, which lies in a public range. */
const AZURE = "168.63.129.16";

/**
 * Whether an IP address is one of the public internet: unicast, and in none of the ranges that IANA sets
 * apart (loopback, private, link-local, unique-local, carrier NAT, multicast, reserved, tunnels).
 */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.parse(address);
  if (parsed instanceof ipaddr.IPv4) return parsed.range() === "unicast" && parsed.toString() !== AZURE;
  if (parsed.isIPv4MappedAddress()) return isPublicAddress(parsed.toIPv4Address().toString());
  // NAT64 and the old "compatible" form hold an IPv4 address in their last 32 bits (RFC 6052, RFC 4291).
  const bytes = parsed.toByteArray();
  const isNat64 = bytes.slice(0, 12).join() === "0,100,255,155,0,0,0,0,0,0,0,0";
  const isCompatible = bytes.slice(0, 12).every((byte) => byte === 0);
  if (isNat64 || isCompatible) return isPublicAddress(bytes.slice(12).join("."));
  return parsed.range() === "unicast";
}

/** The IP address that a URL's host is written as; undefined for a name. */
export function literalAddress(url: URL): string | undefined {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return isIP(host) ? host : undefined;
}

/** The error of a name or an address that is not public. */
export class PrivateAddressError extends Error {
  constructor(host: string) {
    super(`${host} is not a public address; sources.allowPrivate allows it`);
  }
}

/**
 * A lookup that fails for a name with an address that is not allowed. The socket connects to what this gives
 * and asks nobody again, so that a name that changes between two questions (DNS rebinding) gains nothing.
 *
 * @param resolve What names are looked up with: `dns.lookup`, unless a test has its own.
 */
export function guardedLookup(isAllowed: (address: string) => boolean, resolve = lookup): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
      const refused = error ?? refusal(hostname, addresses, isAllowed);
      if (refused) {
        callback(refused, []);
        return;
      }
      const [first] = addresses;
      if (options.all) callback(null, addresses);
      else callback(null, first?.address ?? "", first?.family);
    });
  };
}

/** Why a name may not be connected to; undefined where it may be. */
function refusal(
  hostname: string,
  addresses: readonly LookupAddress[],
  isAllowed: (address: string) => boolean,
): Error | undefined {
  if (addresses.length === 0) return new Error(`${hostname} has no address`);
  return addresses.every(({ address }) => isAllowed(address)) ? undefined : new PrivateAddressError(hostname);
}
