/**
 * Rectangles whose areas are sizes: the squarified layout of Bruls, Huizing and van Wijk (2000). Each row takes items as
 * long as that makes its worst rectangle squarer.
 */

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** A box for each of `sizes` (positive, largest first) in the same order; together they fill `box`. */
export function squarify(sizes: readonly number[], box: Box): Box[] {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total <= 0) return [];
  const scale = (box.width * box.height) / total;
  const boxes: Box[] = [];
  let free = box;
  for (let at = 0; at < sizes.length; ) {
    const side = Math.min(free.width, free.height);
    let count = 1;
    while (
      at + count < sizes.length &&
      worst(sizes.slice(at, at + count + 1), side, scale) <= worst(sizes.slice(at, at + count), side, scale)
    )
      count += 1;
    const row = sizes.slice(at, at + count);
    const thickness = side > 0 ? (row.reduce((sum, size) => sum + size, 0) * scale) / side : 0;
    const isColumn = free.width >= free.height;
    let offset = 0;
    for (const size of row) {
      const length = thickness > 0 ? (size * scale) / thickness : 0;
      boxes.push(
        isColumn
          ? { x: free.x, y: free.y + offset, width: thickness, height: length }
          : { x: free.x + offset, y: free.y, width: length, height: thickness },
      );
      offset += length;
    }
    free = isColumn
      ? { ...free, x: free.x + thickness, width: Math.max(0, free.width - thickness) }
      : { ...free, y: free.y + thickness, height: Math.max(0, free.height - thickness) };
    at += count;
  }
  return boxes;
}

/** The largest aspect ratio in a row along `side`. */
function worst(row: readonly number[], side: number, scale: number): number {
  const area = row.reduce((sum, size) => sum + size, 0) * scale;
  const areas = row.map((size) => size * scale);
  const thickness = area / side;
  return Math.max(...areas.map((one) => Math.max(thickness ** 2 / one, one / thickness ** 2)));
}
