// The Python side of a comparison, in a process of its own.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/**
 * Starts a script of this folder that prints a line when it is ready and then answers each line with one:
 * `ask` sends a line and gives the answer.
 * @param {string} python
 * @param {string} script
 * @param {string[]} args
 */
export async function pythonPeer(python, script, args) {
  const child = spawn(python, [fileURLToPath(new URL(script, import.meta.url)), ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async () => {
    const next = await answers.next();
    if (next.done) throw new Error("Python ended early");
    return next.value;
  };
  await answer();
  return {
    /** @param {string} line */
    ask(line) {
      child.stdin.write(`${line}\n`);
      return answer();
    },
    close: () => child.stdin.end(),
  };
}

/**
 * A peer that computes the model in `folder` on normalised float32 images [rows, 3, size, size]. Its modes
 * are the script's own.
 * @param {string} python
 * @param {string} script
 * @param {string} folder
 * @param {Float32Array} floats
 * @param {number} size
 */
export async function imagePeer(python, script, folder, floats, size) {
  const temporary = mkdtempSync(join(tmpdir(), "torchclip-bench-"));
  const [pixels, embeddings] = ["pixels", "embeddings"].map((name) => join(temporary, name));
  writeFileSync(pixels, floats);
  const peer = await pythonPeer(python, script, [folder, pixels, String(size)]);
  return {
    /**
     * Images a second.
     * @type {(mode: string, batch: number, seconds: number) => Promise<number>}
     */
    speed: async (mode, batch, seconds) => Number(await peer.ask(`${mode} ${batch} ${seconds}`)),
    /**
     * The embeddings of the first `batch` images.
     * @type {(mode: string, batch: number) => Promise<Float32Array>}
     */
    async embeddings(mode, batch) {
      await peer.ask(`${mode} ${batch} ${embeddings}`);
      return new Float32Array(new Uint8Array(readFileSync(embeddings)).buffer);
    },
    close() {
      peer.close();
      rmSync(temporary, { recursive: true });
    },
  };
}
