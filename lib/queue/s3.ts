import type { S3Client } from "@aws-sdk/client-s3";
import { TorchclipError } from "../errors.js";
import { importOptional } from "../util/optional-package.js";

export interface S3Options {
  /** URL of a server that speaks S3, such as MinIO. Default: AWS, or what AWS_ENDPOINT_URL_S3 names. */
  endpoint?: string;
}

type Sdk = typeof import("@aws-sdk/client-s3");

/** What an object that does not exist is called: by GetObject and by HeadObject, which has no body. */
const MISSING = new Set(["NoSuchKey", "NotFound"]);
/** Of a PutObject with If-None-Match: the object is there, or another request makes it just now. */
const TAKEN = new Set(["PreconditionFailed", "ConditionalRequestConflict"]);

export interface ListedObject {
  key: string;
  bytes: number;
}

/** The few requests of S3 that a run needs. Credentials and region are found as the AWS SDK finds them. */
export class S3 {
  private constructor(
    private readonly sdk: Sdk,
    private readonly client: S3Client,
  ) {}

  /** E_PACKAGE_MISSING without @aws-sdk/client-s3. */
  static async open({ endpoint }: S3Options): Promise<S3> {
    const specifier = "@aws-sdk/client-s3";
    const sdk = await importOptional(specifier, "an s3:// address", () => import("@aws-sdk/client-s3"));
    // A server of one's own has no name for each bucket, and no regions.
    const own = endpoint === undefined ? {} : { endpoint, forcePathStyle: true, region: "us-east-1" };
    return new S3(sdk, new sdk.S3Client(own));
  }

  /** An object's bytes; undefined where there is none. */
  async get(bucket: string, key: string, options: GetOptions = {}): Promise<Buffer | undefined> {
    const { range, most = Infinity } = options;
    const Range = range && `bytes=${range.at}-${range.at + range.length - 1}`;
    try {
      const command = new this.sdk.GetObjectCommand({ Bucket: bucket, Key: key, Range });
      const { Body, ContentLength = 0 } = await this.client.send(command);
      if (ContentLength > most) {
        const stream = Body as { destroy?: () => void } | undefined;
        stream?.destroy?.();
        throw new TorchclipError("E_IMAGE_TOO_LARGE", `${ContentLength} bytes are more than ${most}`);
      }
      return Buffer.from((await Body?.transformToByteArray()) ?? []);
    } catch (error) {
      if (MISSING.has((error as Error).name)) return undefined;
      throw error;
    }
  }

  async put(bucket: string, key: string, body: Uint8Array): Promise<void> {
    await this.client.send(new this.sdk.PutObjectCommand({ Bucket: bucket, Key: key, Body: body }));
  }

  /** Makes an object where there is none; false where there is one. */
  async create(bucket: string, key: string, body: Uint8Array): Promise<boolean> {
    const given = { Bucket: bucket, Key: key, Body: body, IfNoneMatch: "*" };
    for (;;) {
      try {
        await this.client.send(new this.sdk.PutObjectCommand(given));
        return true;
      } catch (error) {
        if (!TAKEN.has((error as Error).name)) throw error;
        // After a conflict the other request may fail as well.
        if (await this.has(bucket, key)) return false;
      }
    }
  }

  async remove(bucket: string, key: string): Promise<void> {
    await this.client.send(new this.sdk.DeleteObjectCommand({ Bucket: bucket, Key: key }));
  }

  /** The objects whose keys begin with `prefix`, by their keys; a request for each thousand. */
  async *list(bucket: string, prefix: string): AsyncGenerator<ListedObject> {
    let token: string | undefined;
    do {
      const given = { Bucket: bucket, Prefix: prefix, ContinuationToken: token };
      const answer = await this.client.send(new this.sdk.ListObjectsV2Command(given));
      for (const { Key, Size = 0 } of answer.Contents ?? []) if (Key) yield { key: Key, bytes: Size };
      token = answer.IsTruncated ? answer.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  private async has(bucket: string, key: string): Promise<boolean> {
    try {
      await this.client.send(new this.sdk.HeadObjectCommand({ Bucket: bucket, Key: key }));
      return true;
    } catch (error) {
      if (MISSING.has((error as Error).name)) return false;
      throw error;
    }
  }
}

export interface GetOptions {
  /** A part of the object. Default: all of it. */
  range?: { at: number; length: number };
  /** E_IMAGE_TOO_LARGE for an object with more bytes. Default Infinity. */
  most?: number;
}
