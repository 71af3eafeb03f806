/** The store that commands work on. */
import { processEnvironment } from '../../../host/environment.ts';
import { cacheDirectory } from '../../../host/files.ts';
import { Store } from '../../../oci/store/store.ts';

export function openStore(): Promise<Store> {
  return Store.open(cacheDirectory(processEnvironment()));
}
