// `torchclip serve` of the installed package, whose own packages are not installed with torchclip.
import { mustMatch } from "./must.mjs";

/** @typedef {import("./main.mjs").Step} Step */
/** @typedef {import("./steps.mjs").Shell} Shell */

const URL_OF_SERVER = "http://127.0.0.1:18081";
const READY = `fetch("${URL_OF_SERVER}/health/ready").then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))`;
const EMBED = `
const headers = { "content-type": "application/json" };
const body = JSON.stringify({ input: "a red circle" });
const answer = await fetch("${URL_OF_SERVER}/v1/embeddings", { method: "POST", headers, body });
const { data } = await answer.json();
console.log(data[0].embedding.length + " values");`;
const SERVE = [
  "cd /srv/app",
  "node node_modules/torchclip/dist/cli/main.js serve --port 18081 >&2 & server=$!",
  `for i in 1 2 3 4 5 6 7 8 9 10; do node -e '${READY}' && break || sleep 1; done`,
  `node --input-type=module -e '${EMBED}'`,
  "kill $server && wait $server",
].join("\n");

/**
 * Steps in /srv/app.
 * @param {Shell} shell
 * @returns {Step[]}
 */
export function serverSteps(shell) {
  return [
    {
      name: "torchclip serve: its error names the command that installs the rest; an embedding, SIGTERM",
      work: () => {
        const error = shell("cd /srv/app && ! npx torchclip serve 2>&1");
        const command = /npm install \S.*(?= adds them)/.exec(error)?.[0];
        if (command === undefined) throw new Error(`no command in:\n${error}`);
        shell(`cd /srv/app && ${command} >&2`);
        mustMatch(shell(SERVE), /^\d+ values$/m);
        return "";
      },
    },
  ];
}
