/** JSON as Foundation's encoder writes it: keys sorted, `/` escaped, pretty with a space on both sides of the colon. */

export function compact(value: unknown): string {
  return `${escaped(JSON.stringify(sorted(value)))}\n`;
}

export function pretty(value: unknown): string {
  return `${write(sorted(value), '')}\n`;
}

const escaped = (text: string): string => text.replaceAll('/', '\\/');

/** Nil is absence, never `null`. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).filter(([, one]) => one !== undefined);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, one]) => [key, sorted(one)]));
}

function write(value: unknown, indent: string): string {
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.length === 0) return `[\n\n${indent}]`;
    return `[\n${value.map((one) => inner + write(one, inner)).join(',\n')}\n${indent}]`;
  }
  if (value === null || typeof value !== 'object') return escaped(JSON.stringify(value));
  const entries = Object.entries(value);
  if (entries.length === 0) return `{\n\n${indent}}`;
  const lines = entries.map(([key, one]) => `${inner}${escaped(JSON.stringify(key))} : ${write(one, inner)}`);
  return `{\n${lines.join(',\n')}\n${indent}}`;
}
