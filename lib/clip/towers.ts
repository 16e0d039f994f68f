import { TorchclipError } from "../errors.js";

/** The towers to load, and the addon's number for each choice. */
export const TOWERS = { both: 0, image: 1, text: 2 } as const;

export type TowerChoice = keyof typeof TOWERS;

/** What the addon calls the runner of a tower that was left out. */
export const NOT_LOADED = "not loaded";

/**
 * Throws E_ARGUMENT where the tower that a call needs was left out by `load(model, { towers })`.
 * `runner` is the tower's runner, ClipInfo.imageRunner or textRunner.
 */
export function checkTower(tower: "image" | "text", runner: string): void {
  if (runner !== NOT_LOADED) return;
  const advice = `give \`load\` the option towers: "both" or "${tower}"`;
  const message = `the model was loaded without its ${tower} tower: ${advice}`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: "towers" });
}
