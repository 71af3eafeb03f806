/** The report's charts as SVG: the timeline of a build, and the treemap of an image. Colors are classes of the page. */
import type { ReportPlatform } from './data.ts';
import { longestWait, type RecordedTask } from './record.ts';
import { type Box, squarify } from './treemap.ts';

const width = 1100;
const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Escapes text and attributes: names come from the image and are not trusted. */
export function html(text: string): string {
  return text.replace(/[&<>"]/g, (c) => escapes[c] as string);
}

export function bytesText(n: number): string {
  if (n < 1000) return `${n} B`;
  const [unit, size] = n < 1e6 ? ['kB', 1e3] : n < 1e9 ? ['MB', 1e6] : ['GB', 1e9];
  const value = n / (size as number);
  return `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
}

export function secondsText(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

/** Bars by kind of work, packed into as few rows as possible; those on the critical path are outlined. */
export function timeline(tasks: readonly RecordedTask[]): string {
  const end = Math.max(1, ...tasks.map((task) => task.end));
  const left = 90;
  const x = (time: number) => left + (time / end) * (width - left - 10);
  const critical = new Set(longestWait(tasks));
  const bars: string[] = [];
  let y = 24;
  for (const kind of [...new Set(tasks.map((task) => task.kind))]) {
    const rows: number[] = [];
    for (const task of tasks.filter((one) => one.kind === kind)) {
      const free = rows.findIndex((busyUntil) => busyUntil <= task.start);
      const row = free < 0 ? rows.length : free;
      rows[row] = task.end;
      const length = Math.max(2, x(task.end) - x(task.start));
      const note = `${task.title}: ${secondsText(task.end - task.start)}${task.bytes ? `, ${bytesText(task.bytes)}` : ''}`;
      bars.push(
        `<rect class="bar k-${kind}${critical.has(task) ? ' critical' : ''}" x="${x(task.start).toFixed(1)}" y="${y + row * 16}" width="${length.toFixed(1)}" height="13" rx="2"><title>${html(note)}</title></rect>`,
      );
      if (length > 90) bars.push(label(task.title, x(task.start) + 4, y + row * 16 + 10, length - 8));
    }
    bars.push(`<text class="lane" x="0" y="${y + 11}">${kind}</text>`);
    y += rows.length * 16 + 10;
  }
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const at = x(end * part).toFixed(1);
    const anchor = part === 1 ? 'end' : 'middle';
    return `<line class="grid" x1="${at}" x2="${at}" y1="16" y2="${y}"/><text class="tick" text-anchor="${anchor}" x="${at}" y="11">${secondsText(end * part)}</text>`;
  });
  return `<svg viewBox="0 0 ${width} ${y}" role="img" aria-label="timeline">${ticks.join('')}${bars.join('')}</svg>`;
}

/** Layers with their packages and large files, by size. */
export function treemap({ layers }: ReportPlatform): string {
  const height = 520;
  const sized = layers
    .map((layer, position) => ({ layer, position, size: layer.parts.reduce((sum, part) => sum + part.size, 0) }))
    .filter(({ size }) => size > 0)
    .sort((a, b) => b.size - a.size);
  const outer = squarify(
    sized.map(({ size }) => size),
    { x: 0, y: 0, width, height },
  );
  const drawn = sized.map(({ layer, position, size }, i) => {
    const box = outer[i] as Box;
    const header = box.height > 40 && box.width > 60 ? 18 : 0;
    const inner = {
      x: box.x + 2,
      y: box.y + 2 + header,
      width: Math.max(0, box.width - 4),
      height: Math.max(0, box.height - 4 - header),
    };
    const parts = squarify(
      layer.parts.map((part) => part.size),
      inner,
    ).map((cell, at) => {
      const part = layer.parts[at]!;
      if (cell.width < 0.5 || cell.height < 0.5) return '';
      const text =
        cell.width > 45 && cell.height > 16
          ? label(part.name.split('/').at(-1)!, cell.x + 4, cell.y + 13, cell.width - 8)
          : '';
      const more =
        text && cell.height > 32 && cell.width > 55
          ? label(bytesText(part.size), cell.x + 4, cell.y + 27, cell.width - 8, 'size')
          : '';
      return `<g><rect class="cell" ${place(cell)}/><title>${html(`${layer.name}: ${part.name}, ${bytesText(part.size)}`)}</title>${text}${more}</g>`;
    });
    const title = header
      ? label(`${layer.name}  ${bytesText(size)}`, box.x + 5, box.y + 14, box.width - 10, 'name')
      : '';
    return `<g class="l-${position % 8}"><rect class="layer" ${place(box)}/>${title}${parts.join('')}</g>`;
  });
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="sizes">${drawn.join('')}</svg>`;
}

function place({ x, y, width: w, height: h }: Box): string {
  return `x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${w.toFixed(1)}" height="${h.toFixed(1)}"`;
}

/** Truncates text to about `room` pixels: 6.3 per letter at the page's font size. */
function label(text: string, x: number, y: number, room: number, kind = 'label'): string {
  const letters = Math.floor(room / 6.3);
  const shown = text.length <= letters ? text : letters > 3 ? `${text.slice(0, letters - 1)}…` : '';
  return shown && `<text class="${kind}" x="${x.toFixed(1)}" y="${y.toFixed(1)}">${html(shown)}</text>`;
}
