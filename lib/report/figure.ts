import { encode } from "html-entities";

/** A number of a page, with its meaning. */
export interface Figure {
  name: string;
  value: string;
  meaning: string;
  interval?: string;
}

/** The first figure is shown larger. */
export function figureHtml({ name, value, meaning, interval }: Figure, place: number): string {
  const kind = place === 0 ? "figure first" : "figure";
  const range = interval ? `<span>${encode(interval)}</span>` : "";
  const notes = `${range}<span>${encode(meaning)}</span>`;
  return `<div class="${kind}"><span>${name}</span><b>${value}</b>${notes}</div>`;
}
