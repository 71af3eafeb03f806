/**
 * Converts Debian's names of licenses to SPDX expressions. Debian's copyright files use their own names (copyright-format
 * 1.0, "License specification"); the table has those with an exact equivalent, and any other becomes a `LicenseRef-` that
 * refers to its text. Nothing is guessed.
 */

const gnu: Readonly<Record<string, string>> = {
  'GPL-1': 'GPL-1.0',
  'GPL-2': 'GPL-2.0',
  'GPL-2.0': 'GPL-2.0',
  'GPL-3': 'GPL-3.0',
  'GPL-3.0': 'GPL-3.0',
  'LGPL-2': 'LGPL-2.0',
  'LGPL-2.0': 'LGPL-2.0',
  'LGPL-2.1': 'LGPL-2.1',
  'LGPL-3': 'LGPL-3.0',
  'LGPL-3.0': 'LGPL-3.0',
  'AGPL-3': 'AGPL-3.0',
  'AGPL-3.0': 'AGPL-3.0',
  'GFDL-1.2': 'GFDL-1.2',
  'GFDL-1.3': 'GFDL-1.3',
};
const others: Readonly<Record<string, string>> = {
  '0BSD': '0BSD',
  'AFL-2.1': 'AFL-2.1',
  'Apache-2.0': 'Apache-2.0',
  'Apache-2': 'Apache-2.0',
  'Artistic-2.0': 'Artistic-2.0',
  'BSD-2-clause': 'BSD-2-Clause',
  'BSD-3-clause': 'BSD-3-Clause',
  'BSD-4-clause': 'BSD-4-Clause',
  'BSL-1.0': 'BSL-1.0',
  'CC0-1.0': 'CC0-1.0',
  curl: 'curl',
  Expat: 'MIT',
  FTL: 'FTL',
  ISC: 'ISC',
  'MPL-1.1': 'MPL-1.1',
  'MPL-2.0': 'MPL-2.0',
  OpenSSL: 'OpenSSL',
  'Python-2.0': 'Python-2.0',
  Unlicense: 'Unlicense',
  WTFPL: 'WTFPL',
  X11: 'X11',
  Zlib: 'Zlib',
};
/** Case-insensitive: Debian writes `BSD-3-clause` and `BSD-3-Clause`, `zlib` and `Zlib`. */
const byName = new Map(Object.entries(others).map(([name, id]) => [name.toLowerCase(), id]));

/** An SPDX license expression, and the names of its `LicenseRef-`s. */
export interface Expression {
  readonly text: string;
  readonly references: ReadonlyMap<string, string>;
}

/** All licenses combined; undefined if there are none. */
export function expressionOf(names: readonly string[]): Expression | undefined {
  if (!names.length) return undefined;
  const references = new Map<string, string>();
  const parts = names.flatMap((name) => {
    const choices = name.split(/\s+or\s+/i);
    // The meaning of `A and B or C` depends on a comma, which most files do not have.
    if (choices.length > 1 && /\s+and\s+/i.test(name)) return [identifier(name, references)];
    if (choices.length > 1) return [`(${choices.map((one) => identifier(one.trim(), references)).join(' OR ')})`];
    return name.split(/\s+and\s+/i).map((one) => identifier(one.trim(), references));
  });
  return { text: [...new Set(parts)].sort().join(' AND '), references };
}

function identifier(name: string, references: Map<string, string>): string {
  const known = byName.get(name.toLowerCase());
  if (known) return known;
  const plus = name.endsWith('+');
  const base = gnu[plus ? name.slice(0, -1) : name];
  if (base) return `${base}-${plus ? 'or-later' : 'only'}`;
  const reference = `LicenseRef-debian-${
    name
      .replace(/\+/g, '-plus')
      .replace(/[^A-Za-z0-9.-]+/g, '-')
      .replace(/^-+|-+$/g, '') || 'unnamed'
  }`;
  references.set(reference, name);
  return reference;
}
