import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { env } from "node:process";
import { create } from "tar";
import { backendLibrary, backendPackage, setupBackend } from "../../lib/setup/backends.js";
import { installedParts } from "../../lib/setup/installed.js";
import { cacheFolder } from "../../lib/setup/libtorch.js";
import { backendFolder } from "../../lib/util/backend-folders.js";
import { packageVersion } from "../../lib/util/package.js";
import { assertMissing, rejectsWith, root, sha256, temporaryFolder } from "../support/index.js";
import { printedBy, runSources } from "../support/process.js";

const NAMES = [backendPackage("torch"), backendPackage("cuda")];
const LIBRARIES = ["libtorchclip_torch.so", "libtorchclip_cuda.so"];
/** The version of the backends' packages in backends.json. */
const PINNED = "1.2.3";

describe("torchclip setup", () => {
  const folder = temporaryFolder();
  const pins = join(folder, "backends.json");
  const asked: string[] = [];
  const found = { cache: env.TORCHCLIP_CACHE, registry: env.npm_config_registry };
  let tarball: Buffer;
  let server: Server;

  before(async () => {
    mkdirSync(join(folder, "package"));
    for (const name of LIBRARIES) writeFileSync(join(folder, "package", name), "a library");
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
  const built = join(folder, "no-build");
  const setup = () => setupBackend("cuda", { sources: [libtorch], pins, built });
  const pinAll = (hash: string, libtorchVersion = "2.14.1") => {
    const pin = { version: PINNED, libtorch: libtorchVersion, sha256: hash };
    writeFileSync(pins, JSON.stringify(Object.fromEntries(NAMES.map((name) => [name, pin]))));
  };

  it("fetches nothing where no backend is published for this version", async () => {
    const error = await rejectsWith("E_DOWNLOAD", setup);
    assert.match(error.message, new RegExp(`has no ${NAMES[0]}: no backend is published for this version`));
    assert.equal(error.subject, NAMES[0]);
    assert.deepEqual(asked, []);
    assert.equal(backendLibrary("cuda", built), undefined);
  });

  it("keeps nothing of a backend with another hash", async () => {
    pinAll("0".repeat(64));
    await rejectsWith("E_HASH_MISMATCH", setup);
    assertMissing(join(folder, "cache/backends", `torch-${packageVersion()}`));
  });

  it("installs the backends that the release pins, once, and lists them with their sizes", async () => {
    pinAll(sha256(tarball));
    asked.length = 0;
    const paths = await setup();
    const urlOf = (name: string) => `/${name}/-/${name.replace("@torchclip/", "")}-${PINNED}.tgz`;
    assert.deepEqual(asked, NAMES.map(urlOf));
    assert.equal(readFileSync(paths.library, "utf8"), "a library");
    assert.equal(paths.library, backendLibrary("cuda", built));
    assert.deepEqual(await setup(), paths);
    assert.equal(asked.length, 2, "what is there is not fetched again");
    const record = join(backendFolder("torch"), "libtorchclip_torch.libtorch.txt");
    assert.equal(readFileSync(record, "utf8"), `${paths.libtorch}\n`);
    const parts = (await installedParts(undefined)).filter(({ path }) => path.startsWith(folder));
    const libraries = 2 * "a library".length;
    assert.deepEqual(
      parts.map(({ name, bytes }) => [name, bytes]),
      [
        [`backend cuda-${packageVersion()}`, libraries],
        [`backend torch-${packageVersion()}`, libraries + paths.libtorch.length + 1],
        ["libtorch 2.14.1-cuda", 61],
      ],
    );
  });

  it("refuses a backend for another libtorch, whether it is here or not", async () => {
    pinAll(sha256(tarball), "2.13.0");
    asked.length = 0;
    const refuses = async () => {
      const error = await rejectsWith("E_DOWNLOAD", setup);
      assert.match(error.message, /is compiled for libtorch 2\.13\.0, and `setup cuda` installs 2\.14\.1/);
      assert.equal(error.subject, NAMES[0]);
    };
    await refuses();
    const installed = env.TORCHCLIP_CACHE;
    env.TORCHCLIP_CACHE = join(folder, "empty cache");
    await refuses();
    env.TORCHCLIP_CACHE = installed;
    assert.deepEqual(asked, []);
  });

  it("the addon opens the libtorch and the backend that setup installed", () => {
    const installed = backendFolder("torch");
    const script = `
      const { addon } = await import("${new URL("../../lib/addon.ts", import.meta.url).href}");
      console.log(addon().libtorchInfo().version);`;
    const builtFolder = join(root, "build/Release");
    cpSync(join(builtFolder, LIBRARIES[0]), join(installed, LIBRARIES[0]));
    const libtorchFolder = readFileSync(join(builtFolder, "libtorchclip_torch.libtorch.txt"), "utf8");
    writeFileSync(join(installed, "libtorchclip_torch.libtorch.txt"), libtorchFolder);
    const addonFolder = join(folder, "addon alone");
    mkdirSync(addonFolder);
    cpSync(join(builtFolder, "torchclip.node"), join(addonFolder, "torchclip.node"));
    const run = runSources(script, { env: { TORCHCLIP_ADDON: join(addonFolder, "torchclip.node") } });
    assert.match(printedBy(run), /^2\.\d+\.\d+/);
  });
});
