// Where TypeScript reads the environment or loads a native addon, which its imports do not show.
/** @import { Edge } from "./types.js" */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { ADDON_FILE, ENVIRONMENT } from "./table.mjs";

/**
 * An edge for each file that reads the environment, and for each that names a .node file or calls dlopen.
 * @param {string} root
 * @param {readonly string[]} files
 * @returns {Edge[]}
 */
export function scanSources(root, files) {
  return files.flatMap((from) => {
    const text = readFileSync(join(root, from), "utf8");
    /** @type {Set<string>} */
    const found = new Set();
    visit(ts.createSourceFile(from, text, ts.ScriptTarget.Latest, true), found);
    return [...found].map((to) => ({ from, to, typeOnly: false }));
  });
}

/**
 * @param {ts.Node} node
 * @param {Set<string>} found
 */
function visit(node, found) {
  if (readsEnvironment(node)) found.add(ENVIRONMENT);
  if (loadsAddon(node)) found.add(ADDON_FILE);
  ts.forEachChild(node, (child) => {
    visit(child, found);
  });
}

/**
 * process.env, process["env"], `{ env } = process`, and `import { env } from "node:process"`.
 * @param {ts.Node} node
 */
function readsEnvironment(node) {
  if (ts.isPropertyAccessExpression(node)) return node.name.text === "env" && isProcess(node.expression);
  if (ts.isElementAccessExpression(node)) return isEnv(node.argumentExpression) && isProcess(node.expression);
  if (ts.isImportSpecifier(node))
    return isEnv(node.propertyName ?? node.name) && isProcessModule(node.parent.parent.parent);
  if (!ts.isBindingElement(node) || !isEnv(node.propertyName ?? node.name)) return false;
  const declaration = node.parent.parent;
  return isProcess(declaration.initializer);
}

/**
 * `process`, `globalThis.process`, or the name by which this file imports node:process.
 * @param {ts.Node | undefined} node
 */
function isProcess(node) {
  if (!node) return false;
  if (ts.isPropertyAccessExpression(node)) return node.name.text === "process";
  if (!ts.isIdentifier(node)) return false;
  return node.text === "process" || importedProcess(node.getSourceFile()).includes(node.text);
}

/** @param {ts.SourceFile} file */
function importedProcess(file) {
  return file.statements.filter(isProcessModule).flatMap(({ importClause }) => {
    const bindings = importClause?.namedBindings;
    const whole = bindings && ts.isNamespaceImport(bindings) ? bindings.name : undefined;
    return [importClause?.name, whole].map((name) => name?.text);
  });
}

/** @param {ts.Node} node */
const isEnv = (node) => (ts.isIdentifier(node) || ts.isStringLiteralLike(node)) && node.text === "env";

/**
 * @param {ts.Node} node
 * @returns {node is ts.ImportDeclaration}
 */
function isProcessModule(node) {
  if (!ts.isImportDeclaration(node)) return false;
  const { moduleSpecifier } = node;
  return ts.isStringLiteral(moduleSpecifier) && /^(node:)?process$/.test(moduleSpecifier.text);
}

/** @param {ts.Node} node */
function loadsAddon(node) {
  if (ts.isStringLiteralLike(node) || ts.isTemplateTail(node)) return node.text.endsWith(".node");
  return ts.isPropertyAccessExpression(node) && node.name.text === "dlopen";
}
