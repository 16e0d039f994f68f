import assert from "node:assert/strict";
import { AnswerWriter, encodeVector } from "../../lib/serve/encoding.js";

describe("serve: vectors in answers", () => {
  it("each type, also where the dimension is no multiple of 8 and where all values are 0", () => {
    const vector = Float32Array.of(0.5, -1, 0, 0.25, 0, 0, 0, 0.125, -0.25, 1);
    assert.deepEqual(encodeVector(vector, "float"), Array.from(vector));
    assert.deepEqual(encodeVector(vector, "int8"), [64, -127, 0, 32, 0, 0, 0, 16, -32, 127]);
    assert.deepEqual(encodeVector(vector, "uint8"), [192, 1, 128, 160, 128, 128, 128, 144, 96, 255]);
    assert.deepEqual(encodeVector(vector, "ubinary"), [0b10010001, 0b01000000]);
    assert.deepEqual(encodeVector(vector, "binary"), [0b10010001 - 128, 0b01000000 - 128]);
    assert.equal(encodeVector(vector, "base64"), Buffer.from(vector.buffer).toString("base64"));
    assert.deepEqual(encodeVector(new Float32Array(2), "int8"), [0, 0]);
  });

  it("a part of a larger array is written alone", () => {
    const part = Float32Array.of(1, 2, 3, 4).subarray(1, 3);
    assert.equal(encodeVector(part, "base64"), Buffer.from(Float32Array.of(2, 3).buffer).toString("base64"));
  });

  it("many vectors: the JSON is that of JSON.stringify, and other work has its turn meanwhile", async () => {
    const vectors = Array.from({ length: 3000 }, (_, i) =>
      Float32Array.from({ length: 64 }, (_x, j) => i / (j + 1)),
    );
    const writer = new AnswerWriter();
    const body = {
      a: ['"quoted"', ":0"],
      data: vectors.map((v, index) => ({ index, v: writer.vector(v, "float") })),
    };
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const json = await writer.json(body);
    clearInterval(timer);
    const data = vectors.map((v, index) => ({ index, v: Array.from(v) }));
    assert.deepEqual(JSON.parse(json), { a: body.a, data });
    assert.ok(turns > 1, `${turns} turns`);
    assert.equal(await new AnswerWriter().json({ a: 1 }), '{"a":1}');
  });
});
