import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Why there is no Redis here; undefined where there is one. */
export function noRedis(): string | undefined {
  const found = spawnSync("redis-server", ["--version"], { encoding: "utf8" });
  return found.status === 0
    ? undefined
    : "skipped: no redis-server here (Debian: apt-get install redis-server)";
}

/** A Redis server of one's own on this machine, which keeps nothing on disk. */
export class RedisServer {
  private constructor(
    readonly port: number,
    private readonly folder: string,
    private child: ChildProcess,
  ) {}

  static async start(): Promise<RedisServer> {
    const port = await freePort();
    const folder = mkdtempSync(join(tmpdir(), "torchclip-redis-"));
    const server = new RedisServer(port, folder, launch(port, folder));
    await answering(port);
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Ends it without a warning, and starts it again with nothing in it. */
  async loseAll(): Promise<void> {
    await ended(this.child);
    this.child = launch(this.port, this.folder);
    await answering(this.port);
  }

  async stop(): Promise<void> {
    await ended(this.child);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function launch(port: number, folder: string): ChildProcess {
  const settings = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  return spawn("redis-server", [...settings, "--dir", folder], { stdio: "ignore" });
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise((resolve) => child.once("close", resolve));
  child.kill("SIGKILL");
  await closed;
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

async function answering(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const isThere = await new Promise<boolean>((resolve) => {
      const socket = createConnection(port, "127.0.0.1");
      socket.once("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => resolve(false));
    });
    if (isThere) return;
    await sleep(50);
  }
  throw new Error(`redis-server does not answer on port ${port}`);
}
