/**
 * Package sets drawn from a real index, in a way that survives changes of the archive: every name has a place of its own,
 * the hash of it, and a set is the first few names after one of `count` places at equal distances. A name that comes or
 * goes changes one set at most.
 */

/** `count` sets of one to five of `names`, the same ones for the same `seed`. */
export function drawSets(names: readonly string[], count: number, seed: string): string[][] {
  const placed = names
    .map((name): [place: number, name: string] => [hash(`${seed}/${name}`), name])
    .sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : 1));
  return Array.from({ length: count }, (_, set) => {
    const first = placed.findIndex(([place]) => place >= (set / count) * 2 ** 32);
    const drawn = placed.slice(first, first + 1 + (set % 5));
    return drawn.map(([, name]) => name).sort();
  });
}

/** FNV-1a of 32 bits, then mixed as murmur3 does at its end: names that differ in the last letter end far apart. */
function hash(text: string): number {
  let mixed = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) mixed = Math.imul(mixed ^ text.charCodeAt(i), 0x01000193);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
