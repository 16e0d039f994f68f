/**
 * An action whose code is loaded when the command runs: what a command needs costs the others no time.
 *
 * @example
 * command.action(loaded(async () => (await import("../classify.js")).run));
 */
export function loaded<Arguments extends unknown[]>(
  load: () => Promise<(...given: Arguments) => void | Promise<void>>,
): (...given: Arguments) => Promise<void> {
  return async (...given) => {
    const run = await load();
    await run(...given);
  };
}
