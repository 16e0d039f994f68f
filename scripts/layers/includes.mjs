// What C++ includes, and where it reads the environment.
/** @import { Edge, Table } from "./types.js" */
import { existsSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { ENVIRONMENT } from "./table.mjs";

const INCLUDE = /^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]/gm;
const READS_ENVIRONMENT = /\b(?:secure_)?getenv\b|\b_?environ\b/;
// Numbers come first: the quotes of 1'000'000 hold no character.
const NUMBER = /\b\d[\w.']*/;
const STRING = /R"([^(\s]*)\([^]*?\)\1"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'/;
const COMMENT = /\/\/.*|\/\*[^]*?\*\//;
const TOKENS = new RegExp([NUMBER, STRING, COMMENT].map(({ source }) => source).join("|"), "g");

/**
 * The uses of the C++ files, and a sentence for each problem. An edge ends at a file, at a library
 * (`table.libraries` lists the prefixes of its headers) or at the environment. A header in quotes that is not
 * found is a problem.
 * @param {string} root
 * @param {string[]} files
 * @param {Table} table
 */
export function includesOf(root, files, table) {
  /** @type {Edge[]} */
  const edges = [];
  /** @type {string[]} */
  const problems = [];
  for (const from of files) {
    const text = readFileSync(join(root, from), "utf8");
    for (const [, quote, header] of withoutComments(text).matchAll(INCLUDE)) {
      const to = resolve(root, from, header, table) ?? libraryOf(header, table);
      if (to) edges.push({ from, to, typeOnly: false });
      else if (quote === '"') problems.push(`${from} includes "${header}", which no include folder holds`);
    }
    if (READS_ENVIRONMENT.test(withoutStrings(text))) edges.push({ from, to: ENVIRONMENT, typeOnly: false });
  }
  return { edges, problems };
}

/**
 * As the compiler does: beside the file, then in the include folders in turn.
 * @param {string} root
 * @param {string} from
 * @param {string} header
 * @param {Table} table
 */
function resolve(root, from, header, { includeFolders }) {
  const places = [posix.dirname(from), ...includeFolders].map((folder) => posix.join(folder, header));
  return places.find((place) => existsSync(join(root, place)));
}

/**
 * @param {string} header
 * @param {Table} table
 */
function libraryOf(header, { libraries }) {
  const found = Object.entries(libraries).find(([, prefixes]) =>
    prefixes.some((prefix) => header.startsWith(prefix)),
  );
  return found?.[0];
}

/** @param {string} token */
const isComment = (token) => token.startsWith("//") || token.startsWith("/*");
/** @param {string} text */
const withoutComments = (text) => text.replace(TOKENS, (token) => (isComment(token) ? " " : token));
/** @param {string} text */
const withoutStrings = (text) => text.replace(TOKENS, (token) => (/^\d/.test(token) ? token : " "));
