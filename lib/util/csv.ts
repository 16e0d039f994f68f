/**
 * How a cell begins that a spreadsheet takes for a formula (OWASP, "CSV Injection"); the full-width forms are
 * taken as well.
 */
const FORMULA = /^[=+\-@\t\r\n＝＋－＠]/;

/**
 * A cell of a CSV file (RFC 4180), quoted where it holds a comma, a quote or the end of a line. Text that a
 * spreadsheet would run as a formula gets an apostrophe in front, which makes it text; numbers stay numbers.
 */
export function csvCell(value: string | number = ""): string {
  if (typeof value === "number") return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows of cells as the text of a CSV file. */
export function csvText(rows: readonly (readonly (string | number | undefined)[])[]): string {
  return rows.map((row) => `${row.map((value) => csvCell(value)).join(",")}\n`).join("");
}
