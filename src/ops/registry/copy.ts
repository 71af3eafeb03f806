/**
 * `kina copy`: an image from one place to another, the same bytes, nothing unpacked (only a docker-archive cannot hold
 * compressed layers). Registries get what they lack; within one registry blobs are mounted.
 */
import type { Transport } from '../../host/http.ts';
import type { Toolbox } from '../../layers/toolbox.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { checkDestination, writeOutput } from '../../oci/output.ts';
import { partsOf } from '../../oci/parts.ts';
import { type PushResult, pushImage } from '../../oci/push.ts';
import { parseReference } from '../../oci/registry-reference.ts';
import type { Location } from './location.ts';
import { openSource } from './source.ts';

export interface CopyResult {
  readonly root: Descriptor;
  /** What travelled, when the destination is a registry. */
  readonly pushed?: PushResult | undefined;
}

/** `writing` is the transport for the destination: no mirrors. `mtime` is the time of an archive's members, in seconds. */
export async function copyImage(
  from: Location,
  to: Location,
  tools: Toolbox,
  writing: Transport,
  mtime: number,
): Promise<CopyResult> {
  const { store, reporter, signal } = tools;
  if (to.type !== 'registry') await checkDestination(to.type, to.path);
  const source = await openSource(from, tools);
  const { root, origin } = source;
  if (to.type === 'registry') {
    const references = [parseReference(to.ref)];
    const pushed = await pushImage({ source, root, references, transport: writing, reporter, store, origin, signal });
    return { root, pushed };
  }
  await source.keep((await partsOf(source, root)).blobs);
  const name = to.name ?? source.name;
  await writeOutput({
    ...{ store, index: root, refs: name === undefined ? [] : [name], type: to.type, dest: to.path },
    ...{ reporter, signal, mtime },
  });
  return { root };
}
