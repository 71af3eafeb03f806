import { findSources } from '../../cluster/load/sources.ts';
import { providersToSearch } from '../../provider/select.ts';
import { type LoadFlags, load } from './shared/load.ts';

export function run(flags: LoadFlags, names: string[]): Promise<void> {
  return load(flags, async (store, own) => {
    // The engine of the cluster comes first: users build their images there.
    const others = (await providersToSearch(undefined)).filter(({ name }) => name !== own.name);
    return findSources(names, store, [own, ...others]);
  });
}
