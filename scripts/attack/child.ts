// Runs in a child process: loads each artifact named on standard input, one path a line, in both runners, and
// prints one line of JSON for each: what happened, the milliseconds and the growth of the resident memory in
// MB.
import { createInterface } from "node:readline";
import { load } from "../../lib/index.js";

async function outcome(path: string): Promise<string> {
  const sums: string[] = [];
  for (const runner of ["auto", "generic"] as const) {
    try {
      const clip = await load(path, { device: "cpu", runner });
      try {
        const { data } = await clip.encodeTexts(["a red circle"], { normalize: false });
        const images = await clip.encodeImages([
          { data: new Uint8Array(300 * 300 * 3).fill(7), width: 300, height: 300, channels: 3 },
        ]);
        sums.push([...data.slice(0, 8), ...images.data.slice(0, 8)].map((x) => x.toFixed(4)).join());
      } finally {
        await clip.close();
      }
    } catch (error) {
      const { name, code, message } = error as { name: string; code?: string; message: string };
      return name === "TorchclipError" ? String(code) : `${name}: ${message}`;
    }
  }
  return sums[0] === sums[1] ? `loaded ${sums[0]}` : "the two runners differ";
}

for await (const path of createInterface({ input: process.stdin })) {
  const before = process.memoryUsage().rss;
  const start = performance.now();
  const result = await outcome(path);
  const megabytes = Math.round((process.memoryUsage().rss - before) / 1e6);
  const milliseconds = Math.round(performance.now() - start);
  process.stdout.write(`${JSON.stringify({ path, result, milliseconds, megabytes })}\n`);
}
