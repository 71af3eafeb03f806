/**
 * The conformance suite of the Container Runtime Interface on podman, without critest: its 109 subjects, streams over
 * WebSocket as well, and ways of sharing processes that critest leaves out. Nothing may be skipped: kina claims all of it.
 */
import { afterAll, beforeAll, describe, test } from 'vitest';
import { criRequirements } from '../support/cri/host.ts';
import { type CriHouse, openCriHouse } from '../support/cri/house.ts';
import { targets } from '../support/cri/specs/namespaces.ts';
import { openWorld, type Spec, specSeconds, type Transport } from '../support/cri/specs/spec.ts';
import { streams } from '../support/cri/specs/streams.ts';
import { conformance } from '../support/cri/specs.ts';
import { groups } from '../support/cri/subjects.ts';
import { describeUnless, missing, noDebianMirror } from '../support/requirements.ts';

const reason = missing(['full tier', ...criRequirements('podman'), 'ipcmk']) ?? (await noDebianMirror());

describeUnless(reason, 'the conformance suite of CRI on podman', () => {
  let house: CriHouse;
  beforeAll(async () => {
    house = await openCriHouse('podman');
  });
  afterAll(() => house?.close());

  const run = (specs: readonly Spec[], transport: Transport = 'SPDY'): void => {
    for (const spec of specs)
      test(spec.title, { timeout: specSeconds * 1000 }, () =>
        spec.run(openWorld(house.client, house.folder, transport)),
      );
  };
  for (const { name, covered } of groups)
    describe(name, () => {
      const titles = new Set(Object.values(covered));
      run(conformance.filter(({ title }) => titles.has(title)));
    });
  describe('Streaming over WebSocket', () => run(streams, 'WebSocket'));
  describe('Another container’s processes', () => run(targets));
});
