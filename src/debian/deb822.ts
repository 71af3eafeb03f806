/**
 * The deb822 format of control files, indexes and `.sources` files (Policy 5.1): stanzas of `Field: value`, where a line
 * with leading white space continues the value. Field names are case-insensitive and stored in lower case.
 */
import { KinaError } from '../host/errors.ts';

/** One stanza; keys in lower case, values with continuation lines as written (`\n` plus the leading space). */
export type Stanza = ReadonlyMap<string, string>;

/** Parses one stanza. `from` names the document in messages. Throws `debian` for a line that is not a field. */
export function parseStanza(text: string, from: string): Stanza {
  const fields = new Map<string, string>();
  let name: string | undefined;
  for (const line of text.split('\n')) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    if (line[0] === ' ' || line[0] === '\t') {
      if (name === undefined) throw malformed(from, line);
      fields.set(name, `${fields.get(name)}\n${line}`);
      continue;
    }
    const colon = line.indexOf(':');
    if (colon < 1) throw malformed(from, line);
    name = line.slice(0, colon).toLowerCase();
    if (fields.has(name)) throw malformed(from, line, 'duplicate field');
    fields.set(name, line.slice(colon + 1).trim());
  }
  return fields;
}

/** Parses a whole document: stanzas separated by empty lines. */
export function parseStanzas(text: string, from: string): Stanza[] {
  return text
    .replaceAll('\r\n', '\n')
    .split(/\n(?:[ \t]*\n)+/)
    .map((part) => parseStanza(part, from))
    .filter((stanza) => stanza.size > 0);
}

/** The value of a required field. */
export function required(stanza: Stanza, field: string, from: string): string {
  const value = stanza.get(field.toLowerCase());
  if (value === undefined || value === '')
    throw new KinaError('debian', `${from} has no ${field} field`, { hint: 'The file is damaged; fetch it again.' });
  return value;
}

function malformed(from: string, line: string, why = 'not a control field'): KinaError {
  return new KinaError('debian', `${from}: ${why}: ${JSON.stringify(line.slice(0, 80))}`);
}
