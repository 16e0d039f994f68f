// What C++ includes, and where it reads the environment.
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
 * `{ edges, problems }` of the C++ files. An edge ends at a file, at a library (`table.libraries` lists the
 * prefixes of its headers) or at the environment. A header in quotes that is not found is a problem.
 */
export function includesOf(root, files, table) {
  const edges = [];
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

/** As the compiler does: beside the file, then in the include folders in turn. */
function resolve(root, from, header, { includeFolders }) {
  const places = [posix.dirname(from), ...includeFolders].map((folder) => posix.join(folder, header));
  return places.find((place) => existsSync(join(root, place)));
}

function libraryOf(header, { libraries }) {
  const hasPrefix = (name) => libraries[name].some((prefix) => header.startsWith(prefix));
  return Object.keys(libraries).find(hasPrefix);
}

const isComment = (token) => token.startsWith("//") || token.startsWith("/*");
const withoutComments = (text) => text.replace(TOKENS, (token) => (isComment(token) ? " " : token));
const withoutStrings = (text) => text.replace(TOKENS, (token) => (/^\d/.test(token) ? token : " "));
