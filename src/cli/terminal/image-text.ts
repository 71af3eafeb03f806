/** Files and differences of images as tables. */
import type { FileChange, FileSide, ImageDiff, PlatformDiff } from '../../layers/image/diff.ts';
import type { ImageFile } from '../../layers/image/files.ts';
import { bytes, table } from './format.ts';

const typeLetters: Readonly<Record<ImageFile['type'], string>> = {
  file: '-',
  directory: 'd',
  symlink: 'l',
  hardlink: 'h',
};

export function filesText(files: readonly ImageFile[]): string {
  const rows = files.map((f) => [
    `${typeLetters[f.type]}${f.mode.toString(8).padStart(4, '0')}`,
    `${f.uid}:${f.gid}`,
    f.type === 'file' ? bytes(f.size) : '',
    f.layer,
    provenance(f),
    `/${f.path}${f.target === undefined ? '' : ` -> ${f.type === 'hardlink' ? '/' : ''}${f.target}`}`,
  ]);
  const size = files.reduce((sum, f) => sum + f.size, 0);
  const sum = files.length > 1 ? `\n${files.length} entries, ${bytes(size)}` : '';
  return `${table([['MODE', 'OWNER', 'SIZE', 'LAYER', 'FROM', 'PATH'], ...rows], [2])}${sum}`;
}

function provenance({ packages, steps }: ImageFile): string {
  const [first, ...others] = packages;
  if (others.length) return `${packages.length} packages`;
  if (first) return `${first.name} ${first.version}`;
  return steps.length > 3 ? `one of ${steps.length} steps` : steps.join(' or ') || '-';
}

/** `allFiles`: also those of packages whose version differs. */
export function diffText(a: string, b: string, diff: ImageDiff, allFiles: boolean): string {
  if (diff.identical) return `${a} and ${b} are identical`;
  const parts = [`a  ${a}\nb  ${b}`];
  if (diff.onlyA.length) parts.push(`only in a: ${diff.onlyA.join(', ')}`);
  if (diff.onlyB.length) parts.push(`only in b: ${diff.onlyB.join(', ')}`);
  return [...parts, ...diff.platforms.map((platform) => platformText(platform, allFiles))].join('\n\n');
}

function platformText(diff: PlatformDiff, allFiles: boolean): string {
  const { a, b } = diff.size;
  const sections = [`${diff.platform}: ${bytes(a)} -> ${bytes(b)}${signed(b - a)}`];
  const section = (title: string, rows: readonly string[][], right: readonly number[] = []) => {
    if (rows.length)
      sections.push(
        `${title}\n${table(
          rows.map(([first, ...rest]) => [`  ${first}`, ...rest]),
          right,
        )}`,
      );
  };
  section(
    'layers',
    diff.layers.map((layer) => [
      sign(layer),
      layer.name,
      layer.a ? bytes(layer.a.size) : '-',
      layer.b ? bytes(layer.b.size) : '-',
      layer.sameFiles ? 'the same files: time stamps, order or compression differ' : '',
    ]),
    [2, 3],
  );
  const versions = (rows: PlatformDiff['packages']) =>
    rows.map((one) => [sign(one), one.name, one.a ?? '-', one.b ?? '-']);
  section('components', versions(diff.components));
  section('packages', versions(diff.packages));
  section(
    'config',
    diff.config.map((one) => [sign(one), one.name, short(one.a), short(one.b)]),
  );
  const changed = new Set(diff.packages.map((one) => one.name));
  const expected = (file: FileChange) => !allFiles && file.package !== undefined && changed.has(file.package);
  section('files', diff.files.filter((file) => !expected(file)).map(fileRow));
  const folded = diff.files.filter(expected).length;
  if (folded) sections.push(`${folded} more files of the packages above; --files lists them`);
  return sections.join('\n\n');
}

function fileRow(file: FileChange): string[] {
  const { a, b } = file;
  const what =
    a && b
      ? file.what
          .filter((key) => key !== 'size')
          .map((key) => `${key === 'digest' ? 'content' : key} ${sides(key, a, b)}`.trim())
      : [];
  const size = a && b && a.size === b.size ? bytes(a.size) : `${a ? bytes(a.size) : '-'} -> ${b ? bytes(b.size) : '-'}`;
  return [sign(file), `/${file.name}`, (b ?? a)?.layer ?? '', size, what.join(', ')];
}

function sides(key: keyof FileSide, a: FileSide, b: FileSide): string {
  if (key === 'digest' || key === 'xattrs') return '';
  return `${String(a[key] ?? '-')} -> ${String(b[key] ?? '-')}`;
}

function sign({ a, b }: { a: unknown; b: unknown }): string {
  return a === undefined ? '+' : b === undefined ? '-' : '~';
}

function signed(difference: number): string {
  if (difference === 0) return '';
  return ` (${difference > 0 ? '+' : '-'}${bytes(Math.abs(difference))})`;
}

function short(value: string | undefined): string {
  if (value === undefined) return '-';
  return value.length > 60 ? `${value.slice(0, 57)}...` : value;
}
