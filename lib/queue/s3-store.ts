import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TorchclipError } from "../errors.js";
import type { Location } from "./location.js";
import { S3, type S3Options } from "./s3.js";
import type { Store } from "./store.js";

/** Opens a prefix of a bucket. E_PACKAGE_MISSING without the AWS SDK. */
export async function openS3Store(
  { bucket, key }: Extract<Location, { kind: "s3" }>,
  options: S3Options,
): Promise<Store> {
  return new S3Store(await S3.open(options), bucket, key.replace(/\/+$/, ""));
}

/**
 * A store in a bucket. An object appears whole and takes its name at once; `create` is a PutObject with
 * `If-None-Match: *`, which AWS, MinIO and R2 know.
 */
class S3Store implements Store {
  readonly where: string;

  constructor(
    private readonly s3: S3,
    private readonly bucket: string,
    private readonly prefix: string,
  ) {
    this.where = `s3://${bucket}/${prefix}`;
  }

  async read(name: string): Promise<Buffer | undefined> {
    return this.asked("E_READ", name, () => this.s3.get(this.bucket, this.keyOf(name)));
  }

  async readRange(name: string, at: number, length: number): Promise<Buffer> {
    const range = { at, length };
    const found = await this.asked("E_READ", name, () =>
      this.s3.get(this.bucket, this.keyOf(name), { range }),
    );
    if (found?.length === length) return found;
    const what = found ? `it ends before byte ${at + length}` : "there is no such object";
    throw this.error("E_READ", name, what);
  }

  async write(name: string, content: string | Uint8Array | AsyncIterable<string>): Promise<void> {
    const isWhole = typeof content === "string" || content instanceof Uint8Array;
    const bytes = isWhole ? bytesOf(content) : await gathered(content);
    await this.asked("E_WRITE", name, () => this.s3.put(this.bucket, this.keyOf(name), bytes));
  }

  async create(name: string, content: string | Uint8Array): Promise<boolean> {
    const create = () => this.s3.create(this.bucket, this.keyOf(name), bytesOf(content));
    return this.asked("E_WRITE", name, create);
  }

  async place(name: string, file: string): Promise<void> {
    await this.write(name, await readFile(file));
    await rm(file, { force: true });
  }

  async *list(folder: string): AsyncGenerator<{ name: string; bytes: number }> {
    const start = this.keyOf("").length;
    try {
      for await (const { key, bytes } of this.s3.list(this.bucket, this.keyOf(`${folder}/`)))
        yield { name: key.slice(start), bytes };
    } catch (error) {
      throw this.error("E_READ", folder, messageOf(error), error);
    }
  }

  async remove(names: readonly string[]): Promise<void> {
    for (const name of names)
      await this.asked("E_WRITE", name, () => this.s3.remove(this.bucket, this.keyOf(name)));
  }

  async workFolder(): Promise<string> {
    return mkdtemp(join(tmpdir(), "torchclip-shard-"));
  }

  async sweep(): Promise<void> {
    // Work folders lie on the machines of the workers, in the folder of temporary files.
  }

  private keyOf(name: string): string {
    return this.prefix === "" ? name : `${this.prefix}/${name}`;
  }

  private async asked<T>(code: "E_READ" | "E_WRITE", name: string, request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      throw this.error(code, name, messageOf(error), error);
    }
  }

  private error(code: "E_READ" | "E_WRITE", name: string, why: string, cause?: unknown): TorchclipError {
    const subject = `${this.where}/${name}`;
    const verb = code === "E_READ" ? "read" : "write";
    return new TorchclipError(code, `cannot ${verb} ${subject}: ${why}`, { subject, cause });
  }
}

const bytesOf = (content: string | Uint8Array): Uint8Array =>
  typeof content === "string" ? Buffer.from(content) : content;

/** One request writes an object, so its parts are gathered. */
async function gathered(parts: AsyncIterable<string>): Promise<Uint8Array> {
  const all: Buffer[] = [];
  for await (const part of parts) all.push(Buffer.from(part));
  return Buffer.concat(all);
}

/** What an error of the SDK says: its name is the code that S3 answered. */
function messageOf(error: unknown): string {
  const { name, message } = error as Error;
  return name === "Error" || message.includes(name) ? message : `${name}: ${message}`;
}
