/**
 * Mutates small files of each weight format and imports them: each must end in an artifact or a TorchclipError, within
 * 5 seconds and bounded memory, leaving nothing half-written.
 *
 *     node --import tsx scripts/fuzz-formats.ts [--count 10000] [--seed 1]
 *
 * The same seed makes the same files. A file that breaks the rules is kept beside the report.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { EmbeddingIndex, importModel, TorchclipError } from "../lib/index.js";
import { below, seededRandom, type Random } from "../lib/util/random.js";
import { fixture, tinyModel } from "../test/support/index.js";
import { tinySafetensors } from "../test/support/tiny.js";

const { values } = parseArgs({ options: { count: { type: "string", default: "10000" }, seed: { type: "string", default: "1" } } });
const random = seededRandom(Number(values.seed));
const folder = mkdtempSync(join(tmpdir(), "torchclip-fuzz-"));
const INTERESTING = [0, 1, 2, 0x7f, 0x80, 0xff];
const LIMIT_MS = 5000;
const LIMIT_BYTES = 3 * 2 ** 30;

/** One to eight changes: bytes, words, lost, doubled or moved pieces; half of them near either end, where headers are. */
function mutate(original: Buffer, r: Random): Buffer {
  let bytes = Buffer.from(original);
  const place = () => {
    const kind = below(r, 4);
    const near = Math.min(bytes.length, 4096);
    return kind === 0 ? below(r, near) : kind === 1 ? bytes.length - 1 - below(r, near) : below(r, bytes.length);
  };
  for (let n = 1 + below(r, 8); n > 0 && bytes.length > 16; n--) {
    const at = place();
    switch (below(r, 7)) {
      case 0:
        bytes[at] ^= 1 << below(r, 8);
        break;
      case 1:
        bytes[at] = INTERESTING[below(r, INTERESTING.length)];
        break;
      case 2:
        if (at + 8 <= bytes.length) bytes.writeBigUInt64LE(BigInt.asUintN(64, [0n, 1n, -1n, 1n << 31n, 1n << 40n, 1n << 63n][below(r, 6)]), at);
        break;
      case 3:
        bytes = bytes.subarray(0, at);
        break;
      case 4: {
        const length = below(r, 256);
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      }
      case 5: {
        const from = place();
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(from, from + below(r, 256)), bytes.subarray(at)]);
        break;
      }
      default:
        for (let i = at; i < Math.min(bytes.length, at + below(r, 64)); i++) bytes[i] = below(r, 256);
    }
  }
  return bytes;
}

const safetensors = await tinySafetensors();
const seeds: [string, Buffer][] = [
  ["a.safetensors", safetensors],
  ["zip.bin", readFileSync(fixture("models/zip.bin"))],
  ["legacy.bin", readFileSync(fixture("models/legacy.bin"))],
  ["columns.bin", readFileSync(fixture("models/columns.bin"))],
  ["model.onnx", readFileSync(fixture("models/model.onnx"))],
  ["artifact.pt", readFileSync(tinyModel)],
  ["index.npy", Buffer.alloc(0)],
];
const index = EmbeddingIndex.create(8);
await index.add({ data: new Float32Array(80).fill(0.5), rows: 10, dim: 8 });
await index.save(join(folder, "seed.npy"));
seeds[6][1] = readFileSync(join(folder, "seed.npy"));

const codes = new Map<string, number>();
let broken = 0;
let slowest = 0;
for (let i = 0; i < Number(values.count); i++) {
  const [name, original] = seeds[i % seeds.length];
  const file = join(folder, name);
  writeFileSync(file, mutate(original, random));
  const output = join(folder, "out.pt");
  const start = performance.now();
  let code = "read";
  try {
    if (name.endsWith(".npy")) await (await EmbeddingIndex.open(file)).search({ data: new Float32Array(8).fill(1), rows: 1, dim: 8 }, 1);
    else await importModel({ weights: file }, output, { arch: name === "a.safetensors" || name === "artifact.pt" ? undefined : "ViT-B-32" });
  } catch (error) {
    code = error instanceof TorchclipError ? error.code : `NOT OURS: ${String(error)}`;
  }
  const ms = performance.now() - start;
  slowest = Math.max(slowest, ms);
  codes.set(`${name} ${code}`, (codes.get(`${name} ${code}`) ?? 0) + 1);
  const left = readdirSync(folder).filter((f) => f.includes(".tmp"));
  const wrong =
    code.startsWith("NOT") || code === "E_INTERNAL"
      ? code
      : ms > LIMIT_MS
        ? `${ms.toFixed(0)} ms`
        : left.length
          ? `left ${left.join()}`
          : process.memoryUsage().rss > LIMIT_BYTES
            ? "memory"
            : "";
  if (wrong) {
    broken++;
    writeFileSync(`fuzz-broken-${i}-${name}`, readFileSync(file));
    process.stdout.write(`file ${i} (${name}): ${wrong}\n`);
  }
  rmSync(output, { force: true });
}
for (const [what, count] of [...codes].sort()) process.stdout.write(`${String(count).padStart(6)}  ${what}\n`);
process.stdout.write(
  `${values.count} files, ${broken} broke the rules; slowest ${slowest.toFixed(0)} ms, memory ${(process.memoryUsage().rss / 2 ** 20).toFixed(0)} MiB\n`,
);
rmSync(folder, { recursive: true });
process.exit(broken ? 1 : 0);
