import assert from "node:assert/strict";
import { progressText } from "../../lib/cli/io.js";

describe("the progress bar", () => {
  it("tells the time that went by until something is done, then the time that is left", () => {
    assert.deepEqual(progressText({ worked: 0, waited: 0, done: 0, left: 100 }), {
      time: "0 s so far",
      rate: "",
    });
    assert.deepEqual(progressText({ worked: 0, waited: 3.2, done: 0, left: 100 }), {
      time: "4 s so far",
      rate: "",
    });
    assert.deepEqual(progressText({ worked: 10, waited: 0, done: 20, left: 100, unit: "images/s" }), {
      time: "50 s left",
      rate: " | 2.0 images/s",
    });
    assert.equal(progressText({ worked: 10, waited: 5, done: 20, left: 100 }).time, "45 s left");
    assert.equal(progressText({ worked: 10, waited: 90, done: 20, left: 100 }).time, "0 s left");
    assert.equal(progressText({ worked: 10, waited: 0, done: 10, left: 185 }).time, "3 min 5 s left");
    assert.equal(progressText({ worked: 10, waited: 0, done: 10, left: 7800 }).time, "2 h 10 min left");
    assert.equal(progressText({ worked: 0, waited: 0, done: 5, left: 0 }).time, "0 s left");
  });
});
