/**
 * Whether a runner's name (ClipInfo.imageRunner and textRunner) is that of the fast runner, whose results do
 * not depend on what shares the batch.
 */
export function isFast(runner: string): boolean {
  return runner.startsWith("fast");
}
