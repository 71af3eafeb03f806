/** Numbers and tables for people. */

/** `1.2 MB`: decimal units, as disks and registries count. */
export function bytes(n: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = n;
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? Math.round(value) : value.toFixed(value < 9.95 ? 1 : 0)} ${units[unit]}`;
}

/** `8.4 s`, and from 100 seconds on `2 min 15 s`. */
export function seconds(ms: number, digits = 1): string {
  if (ms < 99_500) return `${(ms / 1000).toFixed(digits)} s`;
  const whole = Math.round(ms / 1000);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** How long ago: `3 min`, `5 h`, `12 d`. */
export function age(isoTime: string, now = Date.now()): string {
  const minutes = Math.max(0, Math.round((now - Date.parse(isoTime)) / 60_000));
  if (minutes < 60) return `${minutes} min`;
  return minutes < 48 * 60 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} d`;
}

/** Columns padded to their widest cell; `right` lists the columns to align right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows
    .map((row) =>
      row
        .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
