// For --import: the URLs of all modules that a process loads go into the file MODULE_LOG, one a line. ES modules
// are seen by a loader hook, CommonJS modules and addons by Node's cache when the process ends.
import { appendFileSync } from "node:fs";
import { createRequire, register } from "node:module";
import { pathToFileURL } from "node:url";

const file = process.env.MODULE_LOG;
if (!file) throw new Error("MODULE_LOG is the file of the list");
const hooks = `
import { appendFileSync } from "node:fs";
export function load(url, context, next) {
  appendFileSync(${JSON.stringify(file)}, url + "\\n");
  return next(url, context);
}`;
// eslint-disable-next-line @typescript-eslint/no-deprecated -- registerHooks is not in Node.js 20
register(`data:text/javascript,${encodeURIComponent(hooks)}`);

const { cache } = createRequire(import.meta.url);
process.on("exit", () => {
  const urls = Object.keys(cache).map((path) => pathToFileURL(path).href);
  appendFileSync(file, urls.map((url) => `${url}\n`).join(""));
});
