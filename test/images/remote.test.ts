import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, LookupFunction } from "node:net";
import { inspect } from "node:util";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { guardedLookup, isPublicAddress } from "../../lib/images/address.js";
import { decodeImage } from "../../lib/images/decode.js";
import { fetchImage, ImageFetcher } from "../../lib/images/remote.js";
import { redactText, redactUrl } from "../../lib/redact.js";
import { errorOf, fixture, rejectsWith } from "../support/index.js";

const png = readFileSync(fixture("images/rgb.png"));
const limits = {
  fetchTimeout: 5000,
  maxBytes: 1 << 20,
  sources: { file: true, url: true, allowPrivate: true },
};

describe("images by URL", () => {
  let server: Server;
  let base: string;
  let requests: IncomingMessage[];
  let respond: (request: IncomingMessage, response: ServerResponse) => void;
  before(async () => {
    server = createServer((request, response) => {
      requests.push(request);
      respond(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  beforeEach(() => (requests = []));

  it("gives the bytes, asks for no compression, and takes what is compressed all the same", async () => {
    respond = (_request, response) => response.end(png);
    assert.deepEqual(await fetchImage(base, limits), png);
    assert.equal(requests[0].headers["accept-encoding"], "identity");
    for (const [encoding, compress] of [
      ["gzip", gzipSync],
      ["deflate", deflateSync],
      ["br", brotliCompressSync],
    ] as const) {
      respond = (_request, response) =>
        response.writeHead(200, { "content-encoding": encoding }).end(compress(png));
      assert.deepEqual(await fetchImage(base, limits), png, encoding);
    }
    respond = (_request, response) => response.writeHead(200, { "content-encoding": "zip" }).end(png);
    assert.match((await errorOf(() => fetchImage(base, limits))).message, /content-encoding "zip"/);
  });

  it("the byte limit counts decompressed bytes, announced bytes, and those of a body without end", async () => {
    const bomb = gzipSync(Buffer.alloc(64 << 20));
    respond = (_request, response) => response.writeHead(200, { "content-encoding": "gzip" }).end(bomb);
    const before = process.memoryUsage().arrayBuffers;
    await rejectsWith("E_IMAGE_TOO_LARGE", () => fetchImage(base, limits));
    assert.ok(process.memoryUsage().arrayBuffers - before < 32 << 20, "no more than the limit was kept");
    respond = (_request, response) => response.writeHead(200, { "content-length": 2 << 20 }).flushHeaders();
    await rejectsWith("E_IMAGE_TOO_LARGE", () => fetchImage(base, limits));
    let sent = 0;
    respond = (_request, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(1 << 16))) sent += 1 << 16;
      };
      response.on("drain", more);
      more();
    };
    const error = await rejectsWith("E_IMAGE_TOO_LARGE", () => fetchImage(base, limits));
    assert.match(error.message, /maxBytes/);
    assert.ok(sent < 64 << 20, `${sent} bytes were sent`);
  });

  const slow: [string, (response: ServerResponse) => void][] = [
    ["a silent server", () => undefined],
    [
      "a server that drips",
      (response) => {
        const timer = setInterval(() => response.write("x"), 20);
        response.on("close", () => clearInterval(timer));
      },
    ],
  ];
  for (const [what, answer] of slow) {
    it(`${what}: E_IMAGE_READ after fetchTimeout, E_ABORTED with the signal`, async () => {
      respond = (_request, response) => answer(response);
      const start = performance.now();
      const error = await rejectsWith("E_IMAGE_READ", () =>
        fetchImage(base, { ...limits, fetchTimeout: 200 }),
      );
      assert.match(error.message, /200 ms \(option fetchTimeout\)/);
      assert.ok(performance.now() - start < 2000, `${performance.now() - start} ms`);
      await rejectsWith("E_ABORTED", () => fetchImage(base, limits, AbortSignal.timeout(50)));
    });
  }

  it("a chain of redirects within the time and the count; other schemes are refused", async () => {
    respond = (request, response) => {
      const step = Number(request.url!.slice(1));
      if (step === 0) response.end(png);
      else response.writeHead(302, { location: `/${step - 1}` }).end();
    };
    assert.deepEqual(await fetchImage(`${base}/5`, limits), png);
    assert.match((await errorOf(() => fetchImage(`${base}/6`, limits))).message, /more than 5 times/);
    for (const target of [
      "file:///etc/hostname",
      "ftp://127.0.0.1/x",
      "data:image/png;base64,AAAA",
      "http://[",
    ]) {
      respond = (_request, response) => response.writeHead(302, { location: target }).end();
      await rejectsWith("E_IMAGE_READ", () => fetchImage(base, limits), target);
    }
  });

  it("addresses that are not public are refused without a connection", async () => {
    respond = (_request, response) => response.end(png);
    const { port } = new URL(base);
    const refuse = { ...limits, sources: { ...limits.sources, allowPrivate: false } };
    for (const host of [
      "127.0.0.1",
      "localhost",
      "2130706433",
      "0x7f.1",
      "[::1]",
      "[::ffff:127.0.0.1]",
      "0.0.0.0",
      "169.254.169.254",
    ]) {
      const error = await rejectsWith(
        "E_IMAGE_READ",
        () => fetchImage(`http://${host}:${port}/`, refuse),
        host,
      );
      assert.match(error.message, /not a public address; sources\.allowPrivate/, host);
    }
    await rejectsWith("E_IMAGE_READ", () => decodeImage(base)); // by default too
    assert.equal(requests.length, 0);
  });

  it("each target of a redirect is checked, and the address that is connected to, not the first answer for a name", async () => {
    const { port } = new URL(base);
    // "public.test" is allowed; "inner.test" is not; "rebound.test" was allowed when it was asked for before.
    const answers: Record<string, string[]> = {
      "public.test": ["127.0.0.1"],
      "inner.test": ["127.0.0.2"],
      "rebound.test": ["127.0.0.1", "127.0.0.2"],
    };
    const resolve = ((
      hostname: string,
      _options: unknown,
      done: (error: null, found: { address: string; family: number }[]) => void,
    ) => {
      const [address] = answers[hostname].length > 1 ? answers[hostname].splice(0, 1) : answers[hostname];
      done(null, [{ address, family: 4 }]);
    }) as unknown as Parameters<typeof guardedLookup>[1];
    const isAllowed = (address: string) => address === "127.0.0.1";
    const fetcher = new ImageFetcher(isAllowed, guardedLookup(isAllowed, resolve));
    respond = (request, response) => {
      if (request.url === "/to-inner")
        response.writeHead(302, { location: `http://inner.test:${port}/secret` }).end();
      else if (request.url === "/to-literal")
        response.writeHead(302, { location: `http://127.0.0.2:${port}/secret` }).end();
      else response.setHeader("connection", "close").end(png);
    };
    assert.deepEqual(await fetcher.fetch(`http://public.test:${port}/`, limits), png);
    for (const path of ["to-inner", "to-literal"]) {
      assert.match(
        (await errorOf(() => fetcher.fetch(`http://public.test:${port}/${path}`, limits))).message,
        /not a public address/,
        path,
      );
    }
    assert.deepEqual(await fetcher.fetch(`http://rebound.test:${port}/`, limits), png);
    assert.match(
      (await errorOf(() => fetcher.fetch(`http://rebound.test:${port}/`, limits))).message,
      /rebound\.test is not a public address/,
    );
    assert.ok(requests.every((request) => request.url !== "/secret"));
  });

  it("a lookup gives one address or all, as it was asked, and fails as a whole where one is private", async () => {
    const resolve = ((
      _name: string,
      _options: unknown,
      done: (error: null, found: { address: string; family: number }[]) => void,
    ) =>
      done(null, [
        { address: "8.8.8.8", family: 4 },
        { address: "10.0.0.1", family: 4 },
      ])) as unknown as Parameters<typeof guardedLookup>[1];
    const ask = (lookup: LookupFunction, all: boolean) =>
      new Promise((done) => lookup("x.test", { all }, (error, found) => done(error ?? found)));
    assert.equal(
      await ask(
        guardedLookup(() => true, resolve),
        false,
      ),
      "8.8.8.8",
    );
    assert.equal(
      (
        (await ask(
          guardedLookup(() => true, resolve),
          true,
        )) as unknown[]
      ).length,
      2,
    );
    assert.ok((await ask(guardedLookup(isPublicAddress, resolve), true)) instanceof Error);
  });

  it("credentials are sent as such, and neither they nor the query are shown", async () => {
    respond = (_request, response) => response.writeHead(404).end();
    const secret = `${base.replace("://", "://user:pa55word@")}/cat.jpg?token=pa55word#pa55word`;
    for (const work of [
      () => fetchImage(secret, limits),
      () => decodeImage(secret),
      () => decodeImage(new URL(secret)),
    ]) {
      const error = await rejectsWith("E_IMAGE_READ", work);
      assert.match(error.message, /127\.0\.0\.1:\d+\/cat\.jpg\?…/);
      assert.doesNotMatch(inspect(error), /pa55word/);
    }
    assert.equal(
      requests[0].headers.authorization,
      `Basic ${Buffer.from("user:pa55word").toString("base64")}`,
    );
    for (const broken of ["http://user:pa55/word@[/x", "http://user:pa55word@", "http:user:pa55word@[/"]) {
      assert.doesNotMatch(inspect(await errorOf(() => decodeImage(broken))), /pa55/, broken);
    }
    assert.match(
      (await errorOf(() => decodeImage("ftp://user:pa55word@host.test/x"))).message,
      /ftp:\/\/host\.test\/x: of URLs only/,
    );
    const long = `data:image/png;base64,${"A".repeat(100_000)}`;
    const error = await rejectsWith("E_IMAGE_READ", () => decodeImage(long));
    assert.ok(inspect(error).length < 3000);
  });
});

describe("public addresses", () => {
  const isPublic = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"];
  const isNot = [
    ["loopback", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1"],
    ["private", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::ffff:10.0.0.1"],
    [
      "link-local and metadata",
      "169.254.169.254",
      "fe80::1",
      "fe80::1%eth0",
      "fd00:ec2::254",
      "100.100.100.200",
      "168.63.129.16",
      "192.0.0.192",
    ],
    ["unique-local and site-local", "fc00::1", "fdff::1", "fec0::1"],
    [
      "multicast, broadcast, unspecified, reserved",
      "224.0.0.1",
      "ff02::1",
      "255.255.255.255",
      "0.0.0.0",
      "::",
      "240.0.0.1",
      "192.0.2.1",
    ],
    ["tunnels that hold an IPv4 address", "2002:7f00:1::", "2001::1"],
    ["no address", "", "localhost", "127.0.0.1.example"],
  ];
  it("are public", () => isPublic.forEach((address) => assert.ok(isPublicAddress(address), address)));
  for (const [what, ...addresses] of isNot)
    it(`${what}: not public`, () => addresses.forEach((a) => assert.ok(!isPublicAddress(a), a)));
});

describe("redaction", () => {
  it("takes credentials, query and fragment, and leaves what is no URL", () => {
    assert.equal(redactUrl("https://u:p@host.test:8080/a/b.jpg?x=1#y"), "https://host.test:8080/a/b.jpg?…");
    assert.equal(redactUrl("https://host.test/a.jpg"), "https://host.test/a.jpg");
    assert.equal(redactUrl("file:///a/b.jpg"), "file:///a/b.jpg");
    assert.equal(redactUrl("data:image/png;base64,AAAA"), "data:image/png;base64,… (26 characters)");
    assert.equal(redactUrl("http://user:se/cret@host/x?y"), "http://host/x?…");
    assert.equal(
      redactText('cannot read "http://u:p@h.test/x?k=s": HTTP 404 (see http://h.test/y)'),
      'cannot read "http://h.test/x?…": HTTP 404 (see http://h.test/y)',
    );
    const once = redactText("cannot read http://u:p@h.test/x?k=s: HTTP 404, http://h.test/y.");
    assert.equal(once, "cannot read http://h.test/x?…: HTTP 404, http://h.test/y.");
    assert.equal(redactText(once), once);
    const data = redactText("cannot read data:image/png;base64,AAAA: no");
    assert.equal(redactText(data), data);
    for (const plain of ["C:\\a\\b.jpg", "/a/b?c#d.jpg", "metadata:x", "a photo of a cat?"])
      assert.equal(redactText(plain), plain);
  });
});
