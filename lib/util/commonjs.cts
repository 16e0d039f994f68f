/**
 * Loads an ES module for the CommonJS file `from`. Node >= 20.19 does so by `require`. Jest's default mode puts a `require`
 * of its own in its place that takes no ES module: there Node's own loader is asked, outside of Jest's sandbox.
 */
export function loadModule(require: NodeJS.Require, from: string, file: string): unknown {
  try {
    return require(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_REQUIRE_ESM") throw error;
    const { createRequire } = process.getBuiltinModule("node:module");
    return createRequire(from)(file);
  }
}
