/** DINO's, of `nearestNeighbours`; the command line's help shows them without loading the code. */
export const NEIGHBOUR_DEFAULTS = { k: 20, temperature: 0.07 };
