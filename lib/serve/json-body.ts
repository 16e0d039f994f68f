import { randomUUID } from "node:crypto";
import { RequestError } from "./errors.js";

/** Strings of at least so many bytes are set aside: no caption is as long, every image is. */
const LONG = 4096;
/** Bytes of a body without its long strings. Parsing them takes the event loop some tens of milliseconds. */
const MOST_OTHER = 4 << 20;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** A string of a JSON body that was not parsed yet. */
export class LongString {
  /** @param json What stands between the quotes. */
  constructor(private readonly json: Buffer) {}

  /** Bytes of the string in JSON: at least as many as it has characters, unless it holds escapes. */
  get bytes(): number {
    return this.json.length;
  }

  /** The string. Throws a 400 where its escapes are not JSON. */
  toString(): string {
    if (!this.json.includes(BACKSLASH)) return this.json.toString("utf8");
    try {
      return JSON.parse(`"${this.json.toString("utf8")}"`) as string;
    } catch (cause) {
      throw new RequestError(400, "E_ARGUMENT", `the body is not JSON: ${(cause as Error).message}`);
    }
  }

  /** Its first characters, at most `count`; escapes in them are not resolved, except that of a slash. */
  head(count: number): string {
    return this.json.subarray(0, count).toString("latin1").replaceAll("\\/", "/");
  }
}

/** The strings of a body that were set aside, by the short texts that stand for them in what was parsed. */
export class LongStrings {
  private readonly strings = new Map<string, LongString>();

  /** Nobody outside can guess the texts, so that no string of a client is taken for one. */
  private readonly nonce = randomUUID();

  /** Sets a string aside and gives the text that stands for it. */
  add(json: Buffer): string {
    const marker = `${this.nonce}:${this.strings.size}`;
    this.strings.set(marker, new LongString(json));
    return marker;
  }

  /** The string of the body that a parsed string stands for: itself, unless it was set aside. */
  find(parsed: string): string | LongString {
    return this.strings.get(parsed) ?? parsed;
  }
}

/**
 * A JSON text in which long strings are replaced by short ones, and the strings. `JSON.parse` of a body with
 * many images would hold the event loop for as long as it takes to copy all of them; here each is found by a
 * search for quotes and converted when its turn comes. Throws a 413 where the rest is too long.
 *
 * @example
 * const { text, strings } = setLongStringsAside(body);
 * const { input } = JSON.parse(text);
 * strings.find(input).toString();
 */
export function setLongStringsAside(body: Buffer): { text: string; strings: LongStrings } {
  const strings = new LongStrings();
  const parts: string[] = [];
  let copied = 0;
  let length = 0;
  const copy = (end: number) => {
    length += end - copied;
    if (length > MOST_OTHER) throw tooMuch();
    parts.push(body.toString("utf8", copied, end));
  };
  let open = body.length < LONG ? -1 : body.indexOf(QUOTE);
  while (open >= 0) {
    const close = closingQuote(body, open + 1);
    if (close < 0) break;
    if (close - open > LONG) {
      copy(open + 1);
      parts.push(strings.add(body.subarray(open + 1, close)));
      copied = close;
    }
    open = body.indexOf(QUOTE, close + 1);
  }
  copy(body.length);
  return { text: parts.join(""), strings };
}

/** Where the string that begins at `start` ends; −1 where it does not. */
function closingQuote(body: Buffer, start: number): number {
  let at = body.indexOf(QUOTE, start);
  while (at >= 0) {
    let first = at;
    while (first > start && body[first - 1] === BACKSLASH) first--;
    if ((at - first) % 2 === 0) return at;
    at = body.indexOf(QUOTE, at + 1);
  }
  return -1;
}

function tooMuch(): RequestError {
  const message = `the body has more than ${MOST_OTHER} bytes beside its images and long texts`;
  return new RequestError(413, "E_BODY_TOO_LARGE", message);
}
