// Delay of Node's event loop while the engine embeds images as fast as it can.
// Usage: node bench/event-loop.mjs [model] [seconds]
import { monitorEventLoopDelay } from "node:perf_hooks";
import { load } from "torchclip";

const [model = "tiny", seconds = "10"] = process.argv.slice(2);
const SIDE = 500;
/** @type {import("torchclip").RawImage} */
const image = {
  data: new Uint8Array(SIDE * SIDE * 3).map((_, i) => (i * 31) & 255),
  width: SIDE,
  height: SIDE,
  channels: 3,
};

/** @param {number} until in the time of performance.now() */
function* endless(until) {
  while (performance.now() < until) yield image;
}

const clip = await load(model);
const delay = monitorEventLoopDelay({ resolution: 1 });
let images = 0;
const start = performance.now();
for await (const batch of clip.streamImages(endless(start + 1000))) images += batch.rows;
images = 0; // those of the warm-up do not count
delay.enable();
const from = performance.now();
for await (const batch of clip.streamImages(endless(from + 1000 * Number(seconds)))) images += batch.rows;
delay.disable();
/** @param {number} nanoseconds */
const ms = (nanoseconds) => Number((nanoseconds / 1e6).toFixed(2));
console.log(
  JSON.stringify({
    model: clip.info.config.name,
    device: clip.info.device,
    imagesPerSecond: Math.round(images / ((performance.now() - from) / 1000)),
    // The timer itself fires every 1 ms, so an idle loop shows about 1 ms.
    eventLoopDelayMs: { p50: ms(delay.percentile(50)), p99: ms(delay.percentile(99)), max: ms(delay.max) },
  }),
);
await clip.close();
