/** `kina cache path|prune`: the store's folder and its size. */
import { Command } from 'commander';
import { KinaError } from '../host/errors.ts';
import { cacheDirectory } from '../host/files.ts';
import { prune } from '../oci/prune.ts';
import { Store } from '../oci/store.ts';
import { answer, answerJson } from './context.ts';
import { bytes } from './format.ts';

export function cacheCommand(): Command {
  const path = new Command('path')
    .description("print the store's folder (KINA_CACHE_DIR, else the platform's cache folder)")
    .action(() => answer(cacheDirectory()));
  const pruneCommand = new Command('prune')
    .description('remove what no image in the store needs')
    .option('--all', 'also what was used within the last hour', false)
    .option('--keep-storage <size>', 'remove the longest unused first, until the store is at most this large (10GB)')
    .option('--dry-run', 'say what would go, remove nothing', false)
    .option('--json', 'answer as JSON', false)
    .action(async (options: { all: boolean; keepStorage?: string; dryRun: boolean; json: boolean }) => {
      const store = await Store.open(cacheDirectory());
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
  return new Command('cache').description('the store on disk').addCommand(path).addCommand(pruneCommand);
}

/** `10GB`, `500M`, `1024`: decimal units, as the sizes that kina prints. */
function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)i?[bB]?$/.exec(text);
  if (!match) throw new KinaError('usage', `--keep-storage ${text}: expected a size such as 10GB`);
  const power = ['', 'k', 'm', 'g', 't'].indexOf(match[2]!.toLowerCase());
  return Math.round(Number(match[1]) * 1000 ** power);
}
