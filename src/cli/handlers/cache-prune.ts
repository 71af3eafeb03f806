import { KinaError } from '../../host/errors.ts';
import { prune } from '../../oci/store/prune.ts';
import { answer, answerJson } from '../terminal/context.ts';
import { bytes } from '../terminal/format.ts';
import { openStore } from './shared/store.ts';

interface PruneFlags {
  readonly all: boolean;
  readonly keepStorage: string | undefined;
  readonly dryRun: boolean;
  readonly json: boolean;
}

export async function run(options: PruneFlags): Promise<void> {
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
}

/** `10GB`, `500M`, `1024`: decimal units, as the sizes that kina prints. */
function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)i?[bB]?$/.exec(text);
  if (!match) throw new KinaError('usage', `--keep-storage ${text}: expected a size such as 10GB`);
  const power = ['', 'k', 'm', 'g', 't'].indexOf(match[2]!.toLowerCase());
  return Math.round(Number(match[1]) * 1000 ** power);
}
