import assert from "node:assert/strict";
import { setLongStringsAside } from "../../lib/serve/json-body.js";

/** The body as JSON.parse reads it, from the parts that were set aside. */
function restored(body: string): unknown {
  const { text, strings } = setLongStringsAside(Buffer.from(body));
  return JSON.parse(text, (_, value: unknown) =>
    typeof value === "string" ? strings.find(value).toString() : value,
  );
}

describe("serve: the long strings of a body", () => {
  const long = "x".repeat(5000);

  it("are found among escapes, other strings and in any place", () => {
    for (const value of [
      { input: long },
      { input: ["a", long, "b", long + long, { text: long }] },
      [long],
      long,
      { short: 'a "quoted" text', input: `${long}"`, path: "C:\\", last: `\\${long}\\` },
      { input: "\\".repeat(5001) },
      { input: "é€😀".repeat(2000) },
      { a: "", b: [], c: {}, d: [null, 1.5, true, long] },
    ])
      assert.deepEqual(restored(JSON.stringify(value)), value);
    assert.equal(restored(`"${"a\\/".repeat(3000)}"`), "a/".repeat(3000));
  });

  it("stand aside: what is parsed is short", () => {
    const { text } = setLongStringsAside(Buffer.from(JSON.stringify({ input: [long, "short"] })));
    assert.ok(text.length < 100, text);
  });

  it("a string that a client makes up is no other one", () => {
    const { strings } = setLongStringsAside(Buffer.from(JSON.stringify([long])));
    for (const guess of ["0", ":0", "AAAAAAAAAAAAAAAAAAAAAA:0"]) assert.equal(strings.find(guess), guess);
  });

  it("what is not JSON stays so", () => {
    for (const body of ['{"input": "abc', `{"input": "${long}`, `{"input": "${long}"`, `${long}"${long}"`]) {
      const { text } = setLongStringsAside(Buffer.from(body));
      assert.throws(() => JSON.parse(text) as unknown, SyntaxError);
    }
    const { text, strings } = setLongStringsAside(Buffer.from(`"${long}\\x"`));
    assert.throws(() => strings.find(JSON.parse(text) as string).toString(), {
      status: 400,
      code: "E_ARGUMENT",
    });
  });

  it("a body of many short strings is refused beyond 4 MiB", () => {
    const body = Buffer.from(JSON.stringify(Array.from({ length: 1200 }, () => "y".repeat(4000))));
    assert.throws(() => setLongStringsAside(body), { status: 413, code: "E_BODY_TOO_LARGE" });
  });
});
