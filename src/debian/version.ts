/**
 * Debian version numbers: `[epoch:]upstream[-revision]`, ordered as in Policy 5.6.12 and `dpkg --compare-versions` (a test
 * compares the two). The comparison uses no regular expressions, because resolving a node compares tens of thousands of
 * versions.
 */

/** Relations as in control files; `<` and `>` are the historical spellings of `<=` and `>=`. */
export type Relation = '<<' | '<=' | '=' | '>=' | '>>';

/** Negative, zero or positive, as for `Array.sort`. A malformed version is ordered by its characters, not refused. */
export function compareVersions(a: string, b: string): number {
  if (a === b) return 0;
  const [epochA, upstreamA, revisionA] = split(a);
  const [epochB, upstreamB, revisionB] = split(b);
  return epochA - epochB || comparePart(upstreamA, upstreamB) || comparePart(revisionA, revisionB);
}

/** `version relation wanted`, e.g. `satisfies('1.2-1', '>=', '1.0')`. */
export function satisfies(version: string, relation: Relation, wanted: string): boolean {
  const order = compareVersions(version, wanted);
  switch (relation) {
    case '<<':
      return order < 0;
    case '<=':
      return order <= 0;
    case '=':
      return order === 0;
    case '>=':
      return order >= 0;
    case '>>':
      return order > 0;
  }
}

function split(version: string): [epoch: number, upstream: string, revision: string] {
  const colon = version.indexOf(':');
  const rest = colon < 0 ? version : version.slice(colon + 1);
  const dash = rest.lastIndexOf('-');
  // A missing revision equals revision 0: comparePart treats '' and '0' alike.
  return [
    colon < 0 ? 0 : Number(version.slice(0, colon)) || 0,
    dash < 0 ? rest : rest.slice(0, dash),
    dash < 0 ? '' : rest.slice(dash + 1),
  ];
}

const isDigit = (code: number) => code >= 48 && code <= 57;

/** `~` sorts before the end, the end before letters, letters before everything else. */
function weight(code: number): number {
  if (Number.isNaN(code) || isDigit(code)) return 0;
  if (code === 126) return -1;
  return (code >= 65 && code <= 90) || (code >= 97 && code <= 122) ? code : code + 256;
}

/** Alternates runs of non-digits (by weight) and of digits (by value) until they differ. */
function comparePart(a: string, b: string): number {
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    while ((i < a.length && !isDigit(a.charCodeAt(i))) || (j < b.length && !isDigit(b.charCodeAt(j)))) {
      const difference = weight(a.charCodeAt(i)) - weight(b.charCodeAt(j));
      if (difference !== 0) return difference;
      i++;
      j++;
    }
    while (a[i] === '0') i++;
    while (b[j] === '0') j++;
    let first = 0;
    while (isDigit(a.charCodeAt(i)) && isDigit(b.charCodeAt(j))) {
      first ||= a.charCodeAt(i) - b.charCodeAt(j);
      i++;
      j++;
    }
    // The longer run of digits is the larger number, without conversion, so there is no overflow.
    if (isDigit(a.charCodeAt(i))) return 1;
    if (isDigit(b.charCodeAt(j))) return -1;
    if (first !== 0) return first;
  }
  return 0;
}
