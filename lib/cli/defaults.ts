/** Defaults of options that the help shows without loading the code that uses them. */

/** Of `torchclip probe --method knn`: DINO's k = 20 and temperature 0.07. */
export const NEIGHBOUR_DEFAULTS = { k: 20, temperature: 0.07 };
