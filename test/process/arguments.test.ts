// What the addon itself refuses from every caller: numbers that are none, memory that is too short or can
// shrink.
import { addon } from "../../lib/addon.js";
import { rejectsWith } from "../support/index.js";

const NUMBERS = [NaN, Infinity, -Infinity, -1, 1.5, 2 ** 53, 1e300, "1", null, undefined, {}, 2n ** 70n];

describe("arguments of the addon", () => {
  const refuses = (name: string, call: () => unknown) => rejectsWith("E_ARGUMENT", call, name);

  it("numbers outside of their ranges", async () => {
    const transform = { size: 8, resize: 0, filter: 0, fill: 0, resized: 0, crop: 0 };
    const [bytes, floats, ints] = [new Uint8Array(192), new Float32Array(16), new Int32Array(16)];
    const index = new (addon().Index)(0, 4);
    for (const value of NUMBERS as number[]) {
      const name = String(value);
      await refuses(name, () => addon().preprocess(bytes, value, 1, 3, transform, bytes, 0));
      await refuses(name, () => addon().preprocess(bytes, 1, value, 3, transform, bytes, 0));
      await refuses(name, () => addon().preprocess(bytes, 1, 1, value, transform, bytes, 0));
      await refuses(name, () => addon().preprocess(bytes, 1, 1, 3, { ...transform, size: value }, bytes, 0));
      await refuses(name, () => addon().preprocess(bytes, 1, 1, 3, transform, bytes, value));
      await refuses(name, () => addon().similarity(floats, value, floats, 1, 4, "cpu", floats));
      await refuses(name, () => addon().topK(floats, 1, floats, value, 0, 4, 1, "cpu", ints, floats));
      await refuses(name, () => addon().topK(floats, 1, floats, 1, 0, 4, value, "cpu", ints, floats));
      await refuses(name, () => addon().productSpeed(value as 0, 0.01));
      await refuses(name, () => new (addon().Index)(0, value));
      await refuses(name, () => index.stage(floats, value, 0));
      await refuses(name, () => index.stage(floats, 1, value));
      await refuses(name, () => index.search(floats, 1, value, null, ints, floats));
      await refuses(name, () => index.read(value, 1, floats));
    }
    for (const seconds of [NaN, Infinity, -1, 0, 61])
      await refuses(String(seconds), () => addon().productSpeed(0, seconds));
  });

  it("arrays that are too short, of another type, detached, or can shrink", async () => {
    const index = new (addon().Index)(0, 4);
    const detached = new Float32Array(4);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const resizable = new Float32Array(
      new (ArrayBuffer as new (bytes: number, options: object) => ArrayBuffer)(64, { maxByteLength: 128 }),
    );
    for (const rows of [
      new Float32Array(3),
      detached,
      resizable,
      new Float64Array(4),
      new Uint8Array(64),
      [1, 2, 3, 4],
      null,
    ]) {
      await refuses("rows", () => index.stage(rows as Float32Array, 1, 0));
      await refuses("rows", () =>
        index.search(rows as Float32Array, 1, 1, null, new Int32Array(1), new Float32Array(1)),
      );
      await refuses("rows", () =>
        addon().similarity(rows as Float32Array, 1, new Float32Array(4), 1, 4, "cpu", new Float32Array(1)),
      );
    }
    // A property of the buffer's own does not hide what it is.
    Object.defineProperty(resizable.buffer, "resizable", { value: false });
    await refuses("hidden", () => index.stage(resizable, 1, 0));
    await refuses("path", () => new (addon().Index)("a\0b"));
  });
});
