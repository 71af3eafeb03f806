import { archiveSource } from '../../cluster/load/sources.ts';
import { type LoadFlags, load } from './shared/load.ts';

export function run(flags: LoadFlags, files: string[]): Promise<void> {
  return load(flags, async (store) => [...new Set(files)].map((file) => archiveSource(store, file)));
}
