/**
 * `kina copy`: an image from one place to another, the same bytes (only a docker-archive cannot contain compressed layers).
 * Registries get what they lack; within one registry blobs are mounted. Referrers of the image are copied to registries and
 * layouts; not to archives, because engines would load them as images.
 */
import { type Descriptor, isManifestType } from '../../oci/descriptor.ts';
import { partsOf } from '../../oci/image/contents.ts';
import { notOnePlatform } from '../../oci/output/archive.ts';
import { checkDestination, writeOutput } from '../../oci/output/output.ts';
import { parseReference } from '../../oci/reference.ts';
import { type PushResult, pushImage } from '../../oci/registry/push.ts';
import type { Session } from '../../session/session.ts';
import type { Location } from './location.ts';
import { openLocation } from './open.ts';
import { pushReferrers, referrersIn } from './referrers.ts';

export interface CopyResult {
  readonly root: Descriptor;
  /** What was uploaded, when the destination is a registry. */
  readonly pushed?: PushResult | undefined;
  /** Number of referrers that were copied. */
  readonly referrers: number;
}

export interface CopyImageOptions extends Session {
  readonly from: Location;
  readonly to: Location;
  /** Time of an archive's members, in seconds since the epoch. */
  readonly mtime: number;
  /** Leave the referrers behind. */
  readonly alone: boolean;
}

export async function copyImage(options: CopyImageOptions): Promise<CopyResult> {
  const { from, to, mtime, alone, store, reporter, signal, uploads } = options;
  if (to.type !== 'registry') await checkDestination(to.type, to.path);
  const image = await openLocation(from, options);
  const { root } = image;
  const { documents, parts } = await partsOf(image);
  // Before anything is fetched.
  const images = documents.filter(({ mediaType }) => isManifestType(mediaType)).length;
  if (to.type === 'docker-archive' && images !== 1) throw notOnePlatform(images);
  const takes = !alone && (to.type === 'registry' || to.type === 'oci');
  const beside = takes
    ? await referrersIn(
        image,
        documents.map(({ digest }) => digest),
        options,
      )
    : [];
  if (to.type === 'registry') {
    const reference = parseReference(to.ref);
    const pushing = { transport: uploads, reporter, store, signal };
    const pushed = await pushImage({ ...pushing, image, references: [reference] });
    await pushReferrers(image, beside, reference, pushed, pushing);
    return { root, pushed, referrers: beside.length };
  }
  await image.prepare(parts);
  for (const { entry } of beside) await image.prepare((await partsOf({ ...image, root: entry })).parts);
  const name = to.name ?? (from.type === 'registry' ? undefined : from.name) ?? image.names[0];
  await writeOutput({
    store,
    image,
    refs: name === undefined ? [] : [name],
    type: to.type,
    dest: to.path,
    reporter,
    signal,
    mtime,
    referrers: beside.map(({ entry }) => entry),
  });
  return { root, referrers: beside.length };
}
