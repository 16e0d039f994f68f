import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { env } from "node:process";
import { create } from "tar";
import { backendPackage, backendPaths, setupBackend } from "../../lib/setup/backends.js";
import { installedParts } from "../../lib/setup/installed.js";
import { cacheFolder } from "../../lib/setup/libtorch.js";
import { packageVersion } from "../../lib/util/package.js";
import { assertMissing, rejectsWith, temporaryFolder } from "../support/index.js";

/** CUDA's, because a local build has the other one. */
const NAME = backendPackage("cuda");
const LIBRARY = "libtorchclip_cuda.so";

describe("torchclip setup", () => {
  const folder = temporaryFolder();
  const pins = join(folder, "backends.json");
  const asked: string[] = [];
  const found = { cache: env.TORCHCLIP_CACHE, registry: env.npm_config_registry };
  let tarball: Buffer;
  let server: Server;

  before(async () => {
    mkdirSync(join(folder, "package"));
    writeFileSync(join(folder, "package", LIBRARY), "a library");
    await create({ file: join(folder, "backend.tgz"), gzip: true, cwd: folder }, ["package"]);
    tarball = readFileSync(join(folder, "backend.tgz"));
    server = createServer((request, response) => {
      asked.push(request.url ?? "");
      response.end(tarball);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    env.npm_config_registry = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    env.TORCHCLIP_CACHE = join(folder, "cache");
  });
  after(() => {
    restore("TORCHCLIP_CACHE", found.cache);
    restore("npm_config_registry", found.registry);
    server.close();
  });

  function restore(name: string, value: string | undefined) {
    if (value === undefined) Reflect.deleteProperty(env, name);
    else env[name] = value;
  }

  /** A source that makes a libtorch in the cache, as a download does. */
  const libtorch = {
    name: "made here",
    find: () => {
      const at = cacheFolder({ flavour: "cuda" });
      const header = join(at, "include/torch/headeronly/version.h");
      mkdirSync(dirname(header), { recursive: true });
      mkdirSync(join(at, "lib"), { recursive: true });
      writeFileSync(header, "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 14\n");
      writeFileSync(join(at, "lib/libtorch_cpu.so"), "");
      return Promise.resolve(at);
    },
  };
  const setup = () => setupBackend("cuda", { sources: [libtorch], pins });

  it("fetches nothing where no backend is published for this version", async () => {
    const error = await rejectsWith("E_DOWNLOAD", setup);
    assert.match(error.message, new RegExp(`has no ${NAME}: no backend is published for this version`));
    assert.equal(error.subject, NAME);
    assert.deepEqual(asked, []);
    assert.equal(backendPaths("cuda"), undefined);
  });

  it("keeps nothing of a backend with another hash", async () => {
    writeFileSync(pins, JSON.stringify({ [NAME]: { sha256: "0".repeat(64) } }));
    await rejectsWith("E_HASH_MISMATCH", setup);
    assertMissing(join(folder, "cache/backends", `cuda-${packageVersion()}`));
  });

  it("installs the backend that the release pins, once, and lists it with its size", async () => {
    const sha256 = createHash("sha256").update(tarball).digest("hex");
    writeFileSync(pins, JSON.stringify({ [NAME]: { sha256 } }));
    asked.length = 0;
    const paths = await setup();
    const file = NAME.replace("@torchclip/", "");
    assert.deepEqual(asked, [`/${NAME}/-/${file}-${packageVersion()}.tgz`]);
    assert.equal(readFileSync(paths.library, "utf8"), "a library");
    assert.deepEqual(await setup(), paths);
    assert.equal(asked.length, 1, "what is there is not fetched again");
    assert.deepEqual(backendPaths("cuda"), paths);
    const parts = (await installedParts(undefined)).filter(({ path }) => path.startsWith(folder));
    assert.deepEqual(
      parts.map(({ name, bytes }) => [name, bytes]),
      [
        [`backend cuda-${packageVersion()}`, "a library".length],
        ["libtorch 2.14.1-cuda", 61],
      ],
    );
  });
});
