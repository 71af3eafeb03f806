/** `--report`: the page about a build, written once the image is complete. */
import { isErrno, KinaError } from '../../host/errors.ts';
import { atomicWrite } from '../../host/files.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Store } from '../../oci/store/store.ts';
import { collectReport } from './data.ts';
import { reportPage } from './page.ts';
import type { RecordedTask } from './record.ts';

/** Throws `usage` if `file` cannot be written. */
export async function writeReport(
  file: string,
  store: Store,
  index: Descriptor,
  title: string,
  tasks: readonly RecordedTask[],
): Promise<void> {
  const page = reportPage(await collectReport(store, index, title, tasks));
  await atomicWrite(file, page).catch((error) => {
    if (!isErrno(error, 'EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR')) throw error;
    throw new KinaError('usage', `cannot write the report ${file}: ${error.message}`, { cause: error });
  });
}
