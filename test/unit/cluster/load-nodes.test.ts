/** The nodes of a cluster as a sink: what one of them is sent. */
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import { expect, test } from 'vitest';
import { loadImages } from '../../../src/cluster/load/load.ts';
import { archiveSource } from '../../../src/cluster/load/sources.ts';
import { sha256 } from '../../../src/host/json.ts';
import { silent } from '../../../src/host/progress.ts';
import { readContents } from '../../../src/oci/image/contents.ts';
import { writeOutput } from '../../../src/oci/output/output.ts';
import { storeImage } from '../../../src/oci/store/image.ts';
import type { Provider } from '../../../src/provider/provider.ts';
import { collect, newStore, scratch, smallImage } from '../oci/fixture.ts';

/** A node that has `blobs`, and what it was sent. */
function nodeWith(blobs: readonly string[]) {
  const answer = [
    'x86_64',
    'version = 2\n',
    'Filesystem\n/dev/vda 1000 400 6000000 40% /var',
    '0',
    'REF',
    blobs.join('\n'),
  ];
  const received = new Map<string, Buffer>();
  const provider = {
    name: 'podman',
    async exec(_node: string, _argv: readonly string[], options: { input?: Readable } = {}) {
      if (!options.input) return { code: 0, stdout: `${answer.join('\n%%\n')}\n`, stderr: '' };
      const tar = extract();
      const reading = (async () => {
        for await (const entry of tar)
          if (entry.header.type === 'file')
            received.set(entry.header.name, await collect(entry as AsyncIterable<Uint8Array>));
          else entry.resume();
      })();
      await Promise.all([pipeline(options.input, tar), reading]);
      return { code: 0, stdout: '', stderr: '' };
    },
  } as unknown as Provider;
  return { provider, received };
}

test.each(['oci-archive', 'oci'] as const)('%s: one platform, without the layers that the node has', async (type) => {
  const store = await newStore();
  const { index, layer } = await smallImage(store, ['amd64', 'arm64'], { kind: 'gzip' });
  const [image] = (await readContents(store, index)).platforms;
  const dest = join(await scratch(), 'image');
  await writeOutput({ store, image: storeImage(store, index), refs: ['example.org/x:1'], type, dest });
  const config = image!.manifest.config.digest;
  for (const there of [[], [layer.digest]]) {
    const { provider, received } = nodeWith(there);
    const source = archiveSource(await newStore(), dest);
    const [result] = await loadImages(provider, ['n'], source, silent);
    expect(result).toMatchObject({ loaded: ['example.org/x:1'], there: there.length ? layer.size : 0 });
    const sent = [...received].filter(([name]) => name.startsWith('blobs/'));
    for (const [name, bytes] of sent) expect(`blobs/${sha256(bytes).replace(':', '/')}`).toBe(name);
    const wanted = [image!.descriptor.digest, config, ...(there.length ? [] : [layer.digest])];
    expect(sent.map(([name]) => name).sort()).toEqual(wanted.map((d) => `blobs/${d.replace(':', '/')}`).sort());
    const listed = JSON.parse(received.get('index.json')!.toString());
    expect(listed.manifests).toMatchObject([{ digest: image!.descriptor.digest }]);
  }
});
