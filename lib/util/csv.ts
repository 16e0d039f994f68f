/** A cell of a CSV file (RFC 4180): quoted where it holds a comma, a quote or the end of a line. */
export function csvCell(value: string | number = ""): string {
  const text = String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
