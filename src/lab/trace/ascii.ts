/** JSON as plain ASCII bytes, both ways: everything else is written as `\uXXXX`, so that a byte is a character. */
const BLOCK = 8192;

/** `value` as JSON in ASCII. */
export function encodeJson(value: unknown): Uint8Array {
  const text = JSON.stringify(value).replace(/[\u0080-\uffff]/g, escapeUnit);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

const escapeUnit = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** Parses ASCII JSON. Throws SyntaxError. */
export function decodeJson(bytes: Uint8Array): unknown {
  return JSON.parse(asciiText(bytes));
}

/** The bytes as text, one character a byte. */
export function asciiText(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += BLOCK) {
    text += String.fromCharCode(...bytes.subarray(at, at + BLOCK));
  }
  return text;
}
