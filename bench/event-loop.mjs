// Delay of Node's event loop while the engine embeds images as fast as it can.
// Usage: node bench/event-loop.mjs [model] [seconds]
import { monitorEventLoopDelay } from "node:perf_hooks";
import { load } from "torchclip";

const [model = "tiny", seconds = "10"] = process.argv.slice(2);
const clip = await load(model);
const side = 500;
const image = {
  data: new Uint8Array(side * side * 3).map((_, i) => (i * 31) & 255),
  width: side,
  height: side,
  channels: 3,
};
function* endless(until) {
  while (performance.now() < until) yield image;
}
const delay = monitorEventLoopDelay({ resolution: 1 });
let images = 0;
const start = performance.now();
for await (const warm of clip.streamImages(endless(start + 1000))) void warm;
delay.enable();
const from = performance.now();
for await (const batch of clip.streamImages(endless(from + 1000 * Number(seconds)))) images += batch.rows;
delay.disable();
const ms = (ns) => Number((ns / 1e6).toFixed(2));
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
