import { findImage } from '../../oci/image/select.ts';
import { answer } from '../terminal/context.ts';
import { imageName } from './shared/flag-values.ts';
import { openStore } from './shared/store.ts';

export async function run(_flags: unknown, ref: string, wanted: string): Promise<void> {
  const name = imageName(wanted);
  const store = await openStore();
  const descriptor = await findImage(store, ref);
  await store.tag(name, descriptor);
  answer(`${name}@${descriptor.digest}`);
}
