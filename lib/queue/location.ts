import { resolve } from "node:path";
import { TorchclipError } from "../errors.js";
import { isUrl, localPath } from "../redact.js";

/** A folder or a file of this machine, or an object or prefix of an S3 bucket. */
export type Location = { kind: "local"; path: string } | { kind: "s3"; bucket: string; key: string };

const S3 = /^s3:\/\/([^/]+)\/?(.*)$/is;

/** Whether a text names something in an S3 bucket: s3://bucket/key. */
export function isS3(text: string): boolean {
  return /^s3:\/\//i.test(text);
}

/**
 * What a path, a `file:` URL or an s3://bucket/key means. The path becomes absolute.
 * Throws E_ARGUMENT, which names `option`, for any other URL.
 */
export function parseLocation(text: string, option: string): Location {
  const [, bucket, key] = S3.exec(text) ?? [];
  if (bucket) return { kind: "s3", bucket, key };
  if (isS3(text)) throw wrong(text, option, "it names no bucket; write s3://bucket/key");
  if (isUrl(text) && !/^file:/i.test(text)) throw wrong(text, option, "give a path or s3://bucket/key");
  return { kind: "local", path: resolve(localPath(text)) };
}

function wrong(text: string, option: string, why: string): TorchclipError {
  return new TorchclipError("E_ARGUMENT", `--${option} ${text}: ${why}`, { subject: option });
}
