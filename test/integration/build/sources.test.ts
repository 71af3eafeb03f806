/** The names that people give Kubernetes: markers of releases and of CI builds, and what is said when they lead nowhere. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expandTag } from '../../../src/build/plan/plan.ts';
import { type Resolved, resolveRecipe } from '../../../src/build/resolve.ts';
import { versionTable } from '../../../src/build/versions.ts';
import { parsePlatform } from '../../../src/oci/platform.ts';
import { openWorkshop, type Workshop } from '../../support/build.ts';
import { smallRecipe } from '../../support/kina.ts';
import { startUpstream, type Upstream } from '../../support/upstream.ts';

const ci = 'v1.35.0-alpha.0.391+575c4925be8c39';
let upstream: Upstream;
let workshop: Workshop;
beforeAll(async () => {
  upstream = await startUpstream();
  upstream.markers.set('release/stable.txt', 'v1.34.2');
  upstream.markers.set('release/stable-1.33.txt', 'v1.33.6');
  upstream.markers.set('release/latest.txt', 'v1.35.0-rc.0');
  upstream.markers.set('release/latest-1.34.txt', 'v1.34.3-rc.1');
  upstream.markers.set('ci/latest.txt', ci);
  upstream.markers.set('ci/k8s-beta.txt', '<html>who are you?</html>');
  workshop = await openWorkshop({ mirror: [upstream.url] });
});
afterAll(async () => {
  await workshop?.close();
  await upstream?.stop();
});

const plan = (source: string, sourceType?: string): Promise<Resolved> =>
  resolveRecipe(
    {
      recipe: smallRecipe,
      source,
      sourceType,
      platforms: [parsePlatform('linux/amd64')],
      set: {},
      lock: undefined,
      strict: false,
    },
    workshop.tools,
  );

test.each([
  ['stable', undefined, 'v1.34.2', 'dl.k8s.io/v1.34.2/'],
  ['stable-1.33', undefined, 'v1.33.6', 'dl.k8s.io/v1.33.6/'],
  ['1.33', undefined, 'v1.33.6', 'dl.k8s.io/v1.33.6/'],
  // "latest" is upstream's word for "newest of all, pre-releases too".
  ['latest', undefined, 'v1.35.0-rc.0', 'dl.k8s.io/v1.35.0-rc.0/'],
  ['latest-1.34', undefined, 'v1.34.3-rc.1', 'dl.k8s.io/v1.34.3-rc.1/'],
  ['ci/latest', undefined, ci, `dl.k8s.io/ci/${ci}/`],
  ['latest', 'ci', ci, `dl.k8s.io/ci/${ci}/`],
  [`ci/${ci}`, undefined, ci, `dl.k8s.io/ci/${ci}/`],
])('%s (type %s) is %s', async (source, type, version, place) => {
  const { plan: made, lock } = await plan(source, type);
  expect(made.kubernetes).toBe(version);
  // The lock pins the version, not the marker: the same lock means the same build next week.
  expect(JSON.stringify(lock)).toContain(`https://${place}bin/linux/amd64/kubelet`);
});

test('a CI build: images by the tag that kubeadm asks for, and a name that engines accept', async () => {
  const built = await workshop.build({ recipe: smallRecipe, source: 'ci/latest' });
  const files = await workshop.files(built, 'linux/amd64');
  expect(files.get('kind/version')!.data.toString()).toBe(ci);
  const tag = ci.replace('+', '_');
  expect(files.get('kind/images/kubernetes.tar')!.data.toString('latin1')).toContain(
    `registry.k8s.io/kube-apiserver:${tag}`,
  );
  expect(expandTag(built.resolved.plan, built.resolved.plan.image.tag!)).toBe(`localhost/kina/small:${tag}`);
});

test('a pre-release one minor ahead of the version table is built with the newest row, and that is said', async () => {
  const newest = (await versionTable()).at(-1)!;
  const next = `v1.${Number(newest.kubernetes.split('.')[1]) + 1}.0`;
  const ahead = await plan(`ci/${next}-alpha.1.7+abcdef`);
  expect(workshop.warnings.join()).toContain(
    `newer than this version of kina: using the components of ${newest.kubernetes}`,
  );
  expect(ahead.plan.platforms[0]!.components.containerd).toBe(newest.containerd);
  // A release is not guessed about.
  await expect(plan(next)).rejects.toMatchObject({ code: 'usage', message: expect.stringContaining('no row for') });
});

test.each([
  ['a marker that upstream lacks', 'ci/latest-1.99', undefined, 'not-found', 'dl.k8s.io/ci/latest-1.99.txt'],
  ['a marker that is a web page', 'ci/k8s-beta', undefined, 'usage', '"<html>'],
  ['a marker that climbs', 'ci/../v1.34.2', undefined, 'usage', 'neither a marker nor a version'],
  ['a word', 'newest', undefined, 'usage', 'is not a Kubernetes version'],
  ['an unknown type', 'v1.34.2', 'releese', 'usage', 'did you mean "release"'],
])('%s', async (_name, source, type, code, words) => {
  await expect(plan(source, type)).rejects.toMatchObject({ code, message: expect.stringContaining(words) });
});

test('a CI build asked for as a release, and one that is gone: where to look is said', async () => {
  upstream.intercept = (path, response) => {
    if (!path.includes(ci)) return false;
    response.writeHead(404).end();
    return true;
  };
  await expect(plan(ci)).rejects.toMatchObject({ code: 'not-found', hint: expect.stringContaining(`ci/${ci}`) });
  await expect(plan(`ci/${ci}`)).rejects.toMatchObject({ hint: expect.stringContaining('kept for some weeks') });
  upstream.intercept = undefined;
});
