/**
 * Throws where an output is not as expected.
 * @param {string} output
 * @param {RegExp} expected
 */
export function mustMatch(output, expected) {
  if (!expected.test(output)) throw new Error(`no ${String(expected)} in:\n${output}`);
}
