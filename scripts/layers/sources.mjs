// Where TypeScript reads the environment or loads a native addon, which its imports do not show.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { ADDON_FILE, ENVIRONMENT } from "./table.mjs";

/** An edge for each file that reads the environment, and for each that names a .node file or calls dlopen. */
export function scanSources(root, files) {
  return files.flatMap((from) => {
    const text = readFileSync(join(root, from), "utf8");
    const found = new Set();
    visit(ts.createSourceFile(from, text, ts.ScriptTarget.Latest, true), found);
    return [...found].map((to) => ({ from, to, typeOnly: false }));
  });
}

function visit(node, found) {
  if (readsEnvironment(node)) found.add(ENVIRONMENT);
  if (loadsAddon(node)) found.add(ADDON_FILE);
  ts.forEachChild(node, (child) => visit(child, found));
}

/** process.env, process["env"], `{ env } = process`, and `import { env } from "node:process"`. */
function readsEnvironment(node) {
  if (ts.isPropertyAccessExpression(node)) return node.name.text === "env" && isProcess(node.expression);
  if (ts.isElementAccessExpression(node)) return isEnv(node.argumentExpression) && isProcess(node.expression);
  if (!ts.isBindingElement(node) && !ts.isImportSpecifier(node)) return false;
  if (!isEnv(node.propertyName ?? node.name)) return false;
  const origin = node.parent.parent;
  return ts.isImportSpecifier(node) ? isProcessModule(origin.parent) : isProcess(origin.initializer);
}

/** `process`, `globalThis.process`, or the name by which this file imports node:process. */
function isProcess(node) {
  if (!node) return false;
  if (ts.isPropertyAccessExpression(node)) return node.name.text === "process";
  if (!ts.isIdentifier(node)) return false;
  return node.text === "process" || importedProcess(node.getSourceFile()).includes(node.text);
}

function importedProcess(file) {
  const clauses = file.statements.filter(isProcessModule).map(({ importClause }) => importClause);
  return clauses.flatMap((clause) => [clause?.name?.text, clause?.namedBindings?.name?.text]);
}

const isEnv = (name) => name.text === "env";

function isProcessModule(node) {
  return ts.isImportDeclaration(node) && /^(node:)?process$/.test(node.moduleSpecifier.text);
}

function loadsAddon(node) {
  if (ts.isStringLiteralLike(node) || ts.isTemplateTail(node)) return node.text.endsWith(".node");
  return ts.isPropertyAccessExpression(node) && node.name.text === "dlopen";
}
