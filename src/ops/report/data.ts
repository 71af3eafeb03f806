/** The data of a build report: sizes by layer, package and file; versions and licenses. */
import { components } from '../../layers/image/diff.ts';
import { isPackageText, packagesOf } from '../../layers/image/packages.ts';
import { readImage } from '../../layers/image/read.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { readContents } from '../../oci/image/contents.ts';
import { nameOf } from '../../oci/image/select.ts';
import type { Store } from '../../oci/store/store.ts';
import type { RecordedTask } from './record.ts';

/** A package, a large file, or the rest; uncompressed bytes. */
export interface SizedPart {
  readonly name: string;
  readonly size: number;
}
export interface ReportLayer {
  readonly name: string;
  readonly steps: readonly string[];
  /** Bytes of the blob. */
  readonly blobSize: number;
  /** Largest first. */
  readonly parts: readonly SizedPart[];
}
export interface ReportPlatform {
  readonly platform: string;
  readonly layers: readonly ReportLayer[];
  readonly components: readonly (readonly [string, string])[];
  readonly packages: readonly {
    readonly name: string;
    readonly version: string;
    readonly size: number;
    readonly licences: readonly string[];
  }[];
}
export interface ReportData {
  readonly title: string;
  readonly digest: string;
  readonly tasks: readonly RecordedTask[];
  readonly platforms: readonly ReportPlatform[];
}

/** Files without a package are listed separately from this size on, otherwise as `other files`. */
const largeFile = 500_000;

/** Reads the image from the store. Throws `store` if it is damaged. */
export async function collectReport(
  store: Store,
  index: Descriptor,
  title: string,
  tasks: readonly RecordedTask[],
): Promise<ReportData> {
  const platforms: ReportPlatform[] = [];
  for (const image of (await readContents(store, index)).platforms) {
    const read = await readImage(store, image, { texts: isPackageText });
    const { packages, owners } = packagesOf(read);
    const sizes = new Map<string, Map<string, number>>();
    const ofPackage = new Map<string, number>();
    for (const entry of read.tree.values()) {
      if (entry.type !== 'file') continue;
      const { size } = entry.content;
      const [owner] = owners(entry.path);
      if (owner !== undefined) ofPackage.set(owner, (ofPackage.get(owner) ?? 0) + size);
      const part = owner ?? (size >= largeFile ? `/${entry.path}` : 'other files');
      const layer = sizes.get(entry.owner) ?? new Map<string, number>();
      layer.set(part, (layer.get(part) ?? 0) + size);
      sizes.set(entry.owner, layer);
    }
    platforms.push({
      platform: nameOf(image),
      layers: read.layers.map(({ name, steps, descriptor }) => ({
        name,
        steps,
        blobSize: descriptor.size,
        parts: [...(sizes.get(name) ?? [])]
          .map(([part, size]) => ({ name: part, size }))
          .filter(({ size }) => size > 0)
          .sort((a, b) => b.size - a.size),
      })),
      components: [...components(image)],
      packages: [...packages].map(([key, { name, version, licences }]) => ({
        name,
        version,
        licences,
        size: ofPackage.get(key) ?? 0,
      })),
    });
  }
  return { title, digest: index.digest, tasks, platforms };
}
