/** `kina cache path|ls|verify|prune`: the store's folder, what is in it, whether it is sound, making room. */
import { Command } from 'commander';
import { KinaError } from '../../host/errors.ts';
import { cacheDirectory } from '../../host/files.ts';
import { type Holding, listHoldings, verifyStore } from '../../oci/store/holdings.ts';
import { prune } from '../../oci/store/prune.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { age, bytes, table } from '../terminal/format.ts';
import { openStore } from './store.ts';

export function cacheCommand(): Command {
  const path = new Command('path')
    .description("print the store's folder (KINA_CACHE_DIR, else the platform's cache folder)")
    .action(() => answer(cacheDirectory()));
  const list = new Command('ls')
    .alias('list')
    .description('list what the store holds, how large and old it is, and what uses it')
    .option('--all', 'every entry, the biggest first, not only sums', false)
    .option('--json', 'answer every entry as JSON', false)
    .action(async (options: { all: boolean; json: boolean }) => {
      const holdings = await listHoldings(await openStore());
      if (options.json) return answerJson(holdings);
      answer(options.all ? entriesText(holdings) : sumsText(holdings));
    });
  const verify = new Command('verify')
    .description('hash every blob of the store again')
    .option('--json', 'answer as JSON', false)
    .action(async (_own: unknown, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { json: boolean }>();
      const result = await withProgress(flags, async (reporter, signal) => {
        const task = reporter.task('read', 'the store');
        try {
          const found = await verifyStore(await openStore(), signal, task);
          task.done(undefined, true);
          return found;
        } catch (error) {
          task.fail();
          throw error;
        }
      });
      if (flags.json) answerJson(result);
      else if (!result.damage.length) answer(`sound: ${result.blobs} blobs, ${bytes(result.bytes)} hashed`);
      if (!result.damage.length) return;
      process.exitCode = 1;
      if (flags.json) return;
      throw new KinaError('store', `${result.damage.length} of ${result.blobs} blobs are damaged`, {
        details: result.damage.map(
          ({ digest, problem, usedBy }) =>
            `${digest}: ${problem}${usedBy.length ? `; used by ${usedBy.join(', ')}` : ''}`,
        ),
        hint: 'They are marked, and nothing will be made of them. Build again: they are fetched or made anew.',
      });
    });
  const pruneCommand = new Command('prune')
    .description('remove what no image in the store needs')
    .option('--all', 'also what was used within the last hour', false)
    .option('--keep-storage <size>', 'remove the longest unused first, until the store is at most this large (10GB)')
    .option('--dry-run', 'say what would go, remove nothing', false)
    .option('--json', 'answer as JSON', false)
    .action(async (options: { all: boolean; keepStorage?: string; dryRun: boolean; json: boolean }) => {
      const store = await openStore();
      const keepStorage = options.keepStorage === undefined ? undefined : parseSize(options.keepStorage);
      const result = await prune(store, {
        all: options.all,
        dryRun: options.dryRun,
        ...(keepStorage === undefined ? {} : { keepStorage }),
      });
      if (options.json) return answerJson(result);
      answer(
        `${options.dryRun ? 'would free' : 'freed'} ${bytes(result.freedBytes)} (${result.removed} entries), ${bytes(result.keptBytes)} ${options.dryRun ? 'would stay' : 'stay'}`,
      );
    });
  return new Command('cache')
    .description('the store on disk')
    .addCommand(path)
    .addCommand(list)
    .addCommand(verify)
    .addCommand(pruneCommand);
}

/** `10GB`, `500M`, `1024`: decimal units, as the sizes that kina prints. */
function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)i?[bB]?$/.exec(text);
  if (!match) throw new KinaError('usage', `--keep-storage ${text}: expected a size such as 10GB`);
  const power = ['', 'k', 'm', 'g', 't'].indexOf(match[2]!.toLowerCase());
  return Math.round(Number(match[1]) * 1000 ** power);
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

/** What each kind is good for once no image needs it. */
const reasons: Readonly<Record<string, string>> = {
  image: 'named images',
  layer: 'found again by builds of the same layers',
  artifact: 'downloads, not fetched again',
  unpacked: 'packages and archives, not unpacked again',
  partial: 'downloads that can go on where they stopped',
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
    `${bytes(sizeOf(holdings))} in all; ${bytes(free)} that no image needs: \`kina cache prune\` frees what of it was not used in the last hour`,
  ].join('\n');
}

function sizeOf(holdings: readonly Holding[]): number {
  return holdings.reduce((sum, holding) => sum + holding.size, 0);
}
