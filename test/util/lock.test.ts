import assert from "node:assert/strict";
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { lock, withLock } from "../../lib/util/lock.js";
import { bootTime, thisProcess } from "../../lib/util/owner.js";
import { errorOf, rejectsWith, root, temporaryFolder } from "../support/index.js";

const module = JSON.stringify(join(root, "dist/util/lock.js"));
/** Starts a process that takes the lock and says so, or says why not. */
function holder(path: string, then = "setInterval(() => {}, 1000)"): ChildProcess {
  const script = `import { lock } from ${module};
    try {
      await lock(${JSON.stringify(path)});
      console.log("held");
      ${then}
    } catch (e) { console.log(e.code) }`;
  return spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

const said = (child: ChildProcess): Promise<string> =>
  new Promise((resolve) => child.stdout!.once("data", (text) => resolve(String(text).trim())));

describe("locks", () => {
  const folder = temporaryFolder();
  let n = 0;
  const fresh = () => join(folder, `lock-${n++}`);
  /** A lock as another process would have written it. */
  const write = (path: string, owner: object, age = 0) => {
    writeFileSync(path, JSON.stringify({ ...thisProcess(), token: "0123456789abcdef", ...owner }));
    const time = new Date(Date.now() - age);
    utimesSync(path, time, time);
  };
  const takes = async (path: string) => (await lock(path)).release();

  it("one at a time; released, it is gone", async () => {
    const path = fresh();
    const held = await lock(path);
    const error = await rejectsWith("E_LOCKED", () => lock(path));
    assert.match(error.message, new RegExp(`process ${process.pid} on`));
    await held.check();
    await held.release();
    assert.deepEqual(
      readdirSync(folder).filter((name) => path.endsWith(name)),
      [],
    );
  });

  it("a process that was killed: taken over at once", async () => {
    const path = fresh();
    const child = holder(path);
    assert.equal(await said(child), "held");
    await rejectsWith("E_LOCKED", () => lock(path));
    child.kill("SIGKILL");
    await new Promise((resolve) => child.on("exit", resolve));
    await takes(path);
  });

  it("a process that is stopped keeps it: E_LOCKED, also for those that wait too long", async function () {
    if (process.platform === "win32") return this.skip();
    const path = fresh();
    const child = holder(path);
    assert.equal(await said(child), "held");
    child.kill("SIGSTOP");
    const past = new Date(Date.now() - 3_600_000);
    utimesSync(path, past, past);
    assert.match((await errorOf(() => lock(path))).message, /has not answered for 36\d\d s/);
    await rejectsWith("E_LOCKED", () => withLock(path, () => Promise.resolve()));
    child.kill("SIGKILL");
  });

  it("a number that another process has by now, an earlier start of the machine: taken over", async function () {
    if (process.platform !== "linux") return this.skip();
    const path = fresh();
    write(path, { pid: process.ppid, start: "1" });
    await takes(path);
    write(path, { boot: "another" }, Date.now() - bootTime() + 60_000);
    await takes(path);
    // Written after this machine's start: another machine with the same name, which may live.
    write(path, { boot: "another" });
    await rejectsWith("E_LOCKED", () => lock(path));
  });

  it("another host or container: by the time of its silence", async () => {
    const path = fresh();
    for (const owner of [{ host: "elsewhere" }, { namespace: "pid:[1]" }]) {
      write(path, { ...owner, pid: 2 ** 22 + 1 });
      await rejectsWith("E_LOCKED", () => lock(path));
      write(path, { ...owner, pid: 2 ** 22 + 1 }, 60_000);
      await takes(path);
    }
    writeFileSync(path, "half of a lo");
    await rejectsWith("E_LOCKED", () => lock(path));
  });

  it("lost while its process was stopped: E_LOCKED, and the other's lock stays", async () => {
    const path = fresh();
    const held = await lock(path);
    write(path, { host: "elsewhere", token: "fedcba9876543210" });
    const error = await rejectsWith("E_LOCKED", () => held.check());
    assert.match(error.message, /taken over by process \d+ on elsewhere/);
    await held.release();
    assert.ok(existsSync(path));
  });

  it("of many processes that find a dead one's lock, one gets it", async () => {
    const path = fresh();
    write(path, { pid: spawnSync(process.execPath, ["-e", ""]).pid, start: "1" });
    const children = Array.from({ length: 6 }, () => holder(path));
    const answers = await Promise.all(children.map(said));
    assert.deepEqual(answers.sort(), ["E_LOCKED", "E_LOCKED", "E_LOCKED", "E_LOCKED", "E_LOCKED", "held"]);
    children.forEach((child) => child.kill("SIGKILL"));
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith(`${path.slice(folder.length + 1)}.`)),
      [],
    );
  });

  it("waits for its turn; a signal ends the waiting", async () => {
    const path = fresh();
    const order: number[] = [];
    await Promise.all(
      [1, 2, 3].map((i) =>
        withLock(path, async () => {
          order.push(i, i);
          await new Promise((resolve) => setTimeout(resolve, 20));
        }),
      ),
    );
    assert.ok(order[0] === order[1] && order[2] === order[3] && order.length === 6, order.join());
    const held = await lock(path);
    await rejectsWith("E_ABORTED", () => lock(path, { wait: true, signal: AbortSignal.timeout(50) }));
    assert.ok(readFileSync(path, "utf8").includes(thisProcess().host));
    await held.release();
  });
});
