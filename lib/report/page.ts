import { createHash } from "node:crypto";
import { fontFaces } from "./fonts.js";
import { REPORT_STYLE, STYLE, VIEWPORT } from "./style.js";

export interface ReportPage {
  /** Escaped, as is `body`. */
  title: string;
  body: string;
  /** Rules beside those of all reports. */
  style?: string;
  /** The one script that may run. */
  script?: string;
}

/** A self-contained page: no request, and no script but its own. */
export async function reportPage({ title, body, style = "", script }: ReportPage): Promise<string> {
  const css = `<style>${STYLE}${REPORT_STYLE}${style}${await fontFaces(body)}</style>`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">${VIEWPORT}
<meta http-equiv="Content-Security-Policy" content="${contentPolicy(script)}">
<title>${title}: torchclip report</title>${css}</head><body>
${body}
</body></html>
`;
}

function contentPolicy(script: string | undefined): string {
  const hash = script && createHash("sha256").update(script).digest("base64");
  return [
    "default-src 'none'",
    "img-src data:",
    "font-src data:",
    "style-src 'unsafe-inline'",
    ...(hash ? [`script-src 'sha256-${hash}'`] : []),
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
}

export function percent(x: number): string {
  return `${(100 * x).toFixed(2)}\u00a0%`;
}
