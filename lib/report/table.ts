import { tableHtml, type TableCell } from "../eval/table.js";
import { fontFaces } from "./fonts.js";
import { STYLE } from "./style.js";

/**
 * The table of models and data sets as a page of its own, in the style of the reports that its figures lead
 * to.
 */
export async function tablePage(cells: readonly TableCell[]): Promise<string> {
  const texts = cells.map(({ model, dataset }) => `${model} ${dataset}`);
  return tableHtml(cells, `${STYLE}${await fontFaces(texts.join())}`);
}
