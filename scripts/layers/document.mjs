// The table of layers in CONTRIBUTING.md, written between two markers.
/** @import { DocumentedLayer } from "./types.js" */

const BEGIN = "<!-- Written by `node scripts/check-layers.mjs --write` from scripts/layers.json. -->";
const END = "<!-- End of the layers. -->";

/**
 * `text` with the table of today between the markers. Throws where a marker is missing.
 * @param {string} text
 * @param {{ layers: DocumentedLayer[] }} table
 */
export function withTable(text, table) {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`CONTRIBUTING.md lacks the lines "${BEGIN}" and "${END}"`);
  return `${text.slice(0, begin + BEGIN.length)}\n\n${markdown(table)}\n\n${text.slice(end)}`;
}

/** @param {{ layers: DocumentedLayer[] }} table */
function markdown({ layers }) {
  const rows = layers.map((layer) => `| ${code(layer.files)} | ${layer.holds} | ${uses(layer)} |`);
  return ["| files | what they hold | may use |", "|---|---|---|", ...rows].join("\n");
}

/** @param {DocumentedLayer} layer */
function uses({ name, stated, external }) {
  const parts = [
    code((stated.uses ?? []).map((other) => short(name, other))),
    stated.types ? `types of ${code(stated.types.map((other) => short(name, other)))}` : "",
    external.join(", "),
  ];
  return parts.filter(Boolean).join("; ") || "nothing";
}

/**
 * Within lib/ and native/ the first folder is left out.
 * @param {string} name
 * @param {string} other
 */
function short(name, other) {
  const top = `${name.split("/")[0]}/`;
  if (!["lib/", "native/"].includes(top) || !other.startsWith(top)) return other;
  return other === `${top}*` ? other : other.slice(top.length);
}

/** @param {string[]} names */
const code = (names) => names.map((name) => `\`${name}\``).join(", ");
