/** Where images to load are found, and under which names. */

import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { archiveSource, findSources } from '../../../src/cluster/load/sources.ts';
import { writeOutput } from '../../../src/oci/output/output.ts';
import { platformOf } from '../../../src/oci/platform.ts';
import { storeImage } from '../../../src/oci/store/image.ts';
import type { Provider } from '../../../src/provider/provider.ts';
import { newStore, scratch, smallImage } from '../oci/fixture.ts';

const id = `sha256:${'ab12cd34'.repeat(8)}`;
const engineWith = (names: readonly string[]): Provider =>
  ({
    name: 'podman',
    image: async () => ({ config: id, architecture: 'amd64', names, labels: {} }),
  }) as unknown as Provider;

describe('an image of an engine', () => {
  test.each([
    ['an id', id, ['localhost/app:1'], ['localhost/app:1']],
    [
      'the beginning of an id',
      'ab12cd34ab12',
      ['localhost/app:1', 'docker.io/library/b:2'],
      ['localhost/app:1', 'docker.io/library/b:2'],
    ],
    [
      'a name that looks like an id',
      'ab12',
      ['localhost/ab12:latest'],
      ['docker.io/library/ab12:latest', 'localhost/ab12:latest'],
    ],
    ['a short name', 'app:1', ['localhost/app:1'], ['docker.io/library/app:1', 'localhost/app:1']],
    ['a name with tag and digest', `quay.io/a/b:1@${id}`, [], [`quay.io/a/b@${id}`]],
  ])('by %s', async (_what, reference, names, expected) => {
    const [source] = await findSources([reference], await newStore(), [engineWith(names)]);
    expect(source!.known).toMatchObject([{ names: expected, config: id }]);
  });

  test('by its id, but without a name: an error that says what to do', async () => {
    await expect(findSources([id], await newStore(), [engineWith([])])).rejects.toMatchObject({
      code: 'usage',
      hint: expect.stringContaining('podman tag'),
    });
  });
});

test('an archive: a name with tag and digest is the name that kubelet asks for', async () => {
  const store = await newStore();
  const { index } = await smallImage(store, ['amd64']);
  const dest = join(await scratch(), 'x.tar');
  const refs = [`quay.io/demo/agent:v1@${index.digest}`];
  await writeOutput({ store, image: storeImage(store, index), refs, type: 'oci-archive', dest });
  const images = await archiveSource(store, dest).open([platformOf('amd64')]);
  expect(images).toMatchObject([{ names: [`quay.io/demo/agent@${index.digest}`] }]);
});
