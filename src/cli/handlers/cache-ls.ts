import { type Holding, listHoldings } from '../../oci/store/holdings.ts';
import { answer, answerJson } from '../terminal/context.ts';
import { age, bytes, table } from '../terminal/format.ts';
import { openStore } from './shared/store.ts';

export async function run(options: { readonly all: boolean; readonly json: boolean }): Promise<void> {
  const holdings = await listHoldings(await openStore());
  if (options.json) return answerJson(holdings);
  answer(options.all ? entriesText(holdings) : sumsText(holdings));
}

function entriesText(holdings: readonly Holding[]): string {
  return table(
    [
      ['KIND', 'SIZE', 'USED', 'WHAT', 'USED BY'],
      ...holdings.map((h) => [
        h.kind,
        bytes(h.size),
        age(h.lastUse),
        h.what ?? h.path.split('/').at(-1)!.slice(0, 12),
        h.usedBy.join(', '),
      ]),
    ],
    [1],
  );
}

/** What each kind is, or saves when no image needs it. */
const reasons: Readonly<Record<string, string>> = {
  image: 'named images',
  layer: 'reused by builds of the same layers',
  artifact: 'downloads, to avoid fetching them again',
  unpacked: 'packages and archives, to avoid unpacking them again',
  partial: 'interrupted downloads that can be resumed',
  other: 'indexes, checksum files, images without a name',
};

function sumsText(holdings: readonly Holding[]): string {
  const kinds = [...Object.keys(reasons), ...holdings.map((h) => h.kind)];
  const rows = [...new Set(kinds)].flatMap((kind) => {
    const own = holdings.filter((h) => h.kind === kind);
    if (!own.length) return [];
    const times = own.map((h) => h.lastUse).sort();
    return [[kind, String(own.length), bytes(sizeOf(own)), age(times[0]!), age(times.at(-1)!), reasons[kind] ?? '']];
  });
  const free = sizeOf(holdings.filter((h) => !h.usedBy.length));
  return [
    table([['KIND', 'ENTRIES', 'SIZE', 'OLDEST USE', 'LATEST', 'FOR'], ...rows], [1, 2]),
    '',
    `${bytes(sizeOf(holdings))} in total; ${bytes(free)} not needed by any image: \`kina cache prune\` frees what was not used in the last hour`,
  ].join('\n');
}

function sizeOf(holdings: readonly Holding[]): number {
  return holdings.reduce((sum, holding) => sum + holding.size, 0);
}
