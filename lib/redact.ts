import { fileURLToPath } from "node:url";

const SCHEME = /^[a-z][a-z\d+.-]*:\/\//i;
const DATA = /^data:/i;
const REMOTE = /^https?:/i;
const FILE = /^file:/i;
/** Without the punctuation that follows it in a sentence. */
const URL_IN_TEXT = /\b(?:[a-z][a-z\d+.-]*:\/\/|data:)[^\s"'<>]*[^\s"'<>.,:;!?)\]]/gi;

/** Whether a text is written as a URL; a Windows path ("C:\\a.png") is none. */
export function isUrl(text: string): boolean {
  return SCHEME.test(text) || DATA.test(text) || isLocation(text);
}

/** Whether a text is a URL that is fetched. */
export function isRemote(text: string): boolean {
  return REMOTE.test(text);
}

/** Whether a text is a URL of a file, here or elsewhere, and no path. */
export function isLocation(text: string): boolean {
  return REMOTE.test(text) || FILE.test(text);
}

/** The path that a path or a `file:` URL means. */
export function localPath(text: string): string {
  return FILE.test(text) ? fileURLToPath(text) : text;
}

/**
 * A URL as messages and logs may show it: without user name, password and fragment, its query as "?…". These
 * may hold secrets (signed links carry theirs in the query). The content of a data URL is left out.
 */
export function redactUrl(url: string | URL): string {
  const text = url instanceof URL ? url.href : url;
  if (DATA.test(text) && text.endsWith(",…")) return text;
  if (DATA.test(text)) return `${text.slice(0, 40).split(",")[0]},… (${text.length} characters)`;
  const parsed = URL.canParse(text) ? new URL(text) : undefined;
  // Braces, which stand for several shards, stay as they were written.
  const pathname = parsed?.pathname.replaceAll("%7B", "{").replaceAll("%7D", "}");
  if (parsed?.host) return `${parsed.protocol}//${parsed.host}${pathname}${parsed.search ? "?…" : ""}`;
  if (parsed?.protocol === "file:") return `file://${parsed.pathname}`;
  // What no parser takes may still hold a password: everything before the last @ goes.
  const [, scheme = "", rest = text] = /^([a-z][a-z\d+.-]*:[/\\]*)(.*)$/is.exec(text) ?? [];
  const [shown] = rest.slice(rest.lastIndexOf("@") + 1).split(/[?#]/);
  return `${scheme}${shown}${/[?#]/.test(rest) ? "?…" : ""}`;
}

/**
 * A text in which every URL is redacted, for messages that come from elsewhere. What is no text, an argument
 * of a wrong type that an error is about, is shown as one.
 */
export function redactText(text: unknown): string {
  return String(text).replace(URL_IN_TEXT, (url) => redactUrl(url));
}
