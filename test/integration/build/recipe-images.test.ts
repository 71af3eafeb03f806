/** Images that a recipe makes inside another's: the same as if built alone, locked together, fetched once. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { formatLock } from '../../../src/build/lock-file.ts';
import { openWorkshop, type Workshop } from '../../support/build.ts';
import { useBuildSite } from '../../support/build-site.ts';
import { check } from '../../support/command.ts';
import { describeWith } from '../../support/requirements.ts';

const site = useBuildSite('recipe-images');

const runc = 'https://github.com/opencontainers/runc/releases/download/v1.1.5';
const download = `{ file: { url: "${runc}/runc.\${arch}", checksum: { url: ${runc}/runc.sha256sum }, path: usr/bin/runc, mode: "0755" } }`;

async function write(name: string, text: string): Promise<string> {
  const path = join(site.folder, name);
  await writeFile(path, text);
  return path;
}

/** A recipe whose image has a program, a file that a variable decides, and a file beside the recipe. */
async function agent(): Promise<string> {
  await write('motd', 'hello\n');
  return write(
    'agent.yaml',
    `name: agent
variables: { greeting: { default: hello, values: [hello, ahoy] } }
image: { entrypoint: [/usr/bin/runc], labels: { org.opencontainers.image.title: an agent } }
layers:
  - name: program
    steps:
      - ${download}
      - file: { path: etc/greeting, content: "\${greeting} on \${arch}" }
      - file: { path: etc/motd, source: motd }
`,
  );
}

const name = 'localhost/test/agent:v1';
const carry = (rest = '') =>
  `{ images: { recipe: ./agent.yaml, name: "${name}", path: kind/images/agent.tar${rest} } }`;
const outer = (step: string, file = 'outer.yaml') =>
  write(file, `name: outer\nlayers:\n  - name: images\n    steps:\n      - ${download}\n      - ${step}\n`);

/** The one manifest in the archive inside the image, and the archive's path. */
async function carried(built: Awaited<ReturnType<Workshop['build']>>, platform = 'linux/amd64') {
  const file = (await site.workshop.files(built, platform)).get('kind/images/agent.tar')!;
  const archive = join(site.folder, 'carried.tar');
  await writeFile(archive, file.data);
  const index = JSON.parse(await check(['tar', '-xOf', archive, 'index.json']));
  return { archive, entries: index.manifests as { digest: string; platform: object; annotations: object }[] };
}

describe('an image made by a recipe', () => {
  test('is the one that the recipe makes alone, for each platform, under the name that pods ask for', async () => {
    const platforms = ['linux/amd64', 'linux/arm64'];
    const alone = await site.workshop.build({ recipe: await agent(), platforms });
    const inside = await site.workshop.build({ recipe: await outer(carry()), platforms });
    for (const [i, platform] of platforms.entries()) {
      const { entries } = await carried(inside, platform);
      expect(entries).toHaveLength(1);
      expect(entries[0]).toMatchObject({
        digest: alone.platforms[i]!.manifest.digest,
        platform: { os: 'linux', architecture: platform.split('/')[1] },
        annotations: { 'io.containerd.image.name': name },
      });
    }
  });

  test('takes values for its variables, and is remembered', async () => {
    const before = await carried(await site.workshop.build({ recipe: await outer(carry()) }));
    const recipe = await outer(carry(', set: { greeting: ahoy }'));
    const after = await site.workshop.build({ recipe });
    expect((await carried(after)).entries[0]!.digest).not.toBe(before.entries[0]!.digest);
    const again = await site.workshop.build({ recipe });
    expect(again.index.digest).toBe(after.index.digest);
    expect(again.platforms[0]!.cached).toBe(true);
  });

  test('shares downloads with the image around it', async () => {
    const own = await openWorkshop({ mirror: [site.upstream.url] });
    try {
      await agent();
      let downloads = 0;
      site.upstream.intercept = (path, { req }) => {
        if (req.method === 'GET' && path.endsWith('/runc.amd64')) downloads++;
        return false;
      };
      await own.build({ recipe: await outer(carry()) });
      expect(downloads).toBe(1);
    } finally {
      site.upstream.intercept = undefined;
      await own.close();
    }
  });
});

test('what upstream lacks inside is said of the whole', async () => {
  const gone =
    '{ file: { url: "https://dl.k8s.io/gone", path: gone }, optional: true, unverified: true, component: gone }';
  await write('agent.yaml', `name: agent\nlayers: [{ name: a, steps: [${download}, ${gone}] }]\n`);
  const recipe = await outer(carry());
  expect((await site.workshop.build({ recipe })).platforms[0]!.absent).toEqual(['gone']);
  await expect(site.workshop.build({ recipe, strict: true })).rejects.toThrow('upstream does not have: gone');
});

describe('the lock', () => {
  test('pins the content, and a build from it resolves nothing', async () => {
    await agent();
    const recipe = await outer(carry());
    const { resolved, index } = await site.workshop.build({ recipe });
    const text = formatLock(resolved.lock);
    for (const id of ['images/images', 'images/images/program/file', 'images/images/program/file-3'])
      expect(text).toContain(`    ${id}:\n`);
    expect(text.match(/runc\.amd64/g)).toHaveLength(2);
    const lock = await write('kina.lock', text);
    site.upstream.requests.length = 0;
    expect((await site.workshop.build({ recipe, lock })).index.digest).toBe(index.digest);
    expect(site.upstream.requests).toEqual([]);
  });

  test('is not fulfilled when the inner recipe, or a file of it, is another one now', async () => {
    const path = await agent();
    const recipe = await outer(carry());
    const lock = await write('kina.lock', formatLock((await site.workshop.build({ recipe })).resolved.lock));
    await write('motd', 'changed\n');
    await expect(site.workshop.build({ recipe, lock })).rejects.toMatchObject({ code: 'lock' });
    await agent();
    await writeFile(path, (await readFile(path, 'utf8')).replace('${greeting} on', '${greeting} from'));
    await expect(site.workshop.build({ recipe, lock })).rejects.toMatchObject({
      code: 'lock',
      details: [expect.stringContaining('images/images/program/file-2')],
    });
  });
});

describe('mistakes', () => {
  test('recipes that carry each other are an error, not an endless build', async () => {
    await write(
      'agent.yaml',
      'name: agent\nlayers: [{ name: a, steps: [{ images: { recipe: ./outer.yaml, name: "localhost/o:1", path: o.tar } }] }]\n',
    );
    await expect(site.workshop.build({ recipe: await outer(carry()) })).rejects.toThrow(
      /in a circle: .*outer\.yaml -> .*agent\.yaml -> .*outer\.yaml/,
    );
  });

  test.each([
    ['a variable that the recipe lacks', ', set: { greetnig: ahoy }', 'did you mean "greeting"?'],
    ['a value that it does not allow', ', set: { greeting: moin }', 'hello, ahoy'],
  ])('%s is told with the place in the outer recipe', async (_, rest, expected) => {
    await agent();
    const error = await site.workshop.build({ recipe: await outer(carry(rest)) }).then(
      () => expect.unreachable(),
      (e) => e,
    );
    expect(error).toMatchObject({ code: 'recipe' });
    expect(error.message).toMatch(/outer\.yaml:\d+/);
    expect(error.details.join()).toContain(expected);
  });

  test.each([
    [
      'a name without a host, which pods would look for at docker.io',
      '{ images: { recipe: ./agent.yaml, name: "agent:v1", path: a.tar } }',
      'HOST/NAME:TAG',
    ],
    ['a recipe without a name', '{ images: { recipe: ./agent.yaml, path: a.tar } }', 'belong together'],
  ])('%s is refused before anything is fetched', async (_, step, expected) => {
    await agent();
    site.upstream.requests.length = 0;
    const error = await site.workshop.build({ recipe: await outer(step) }).then(
      () => expect.unreachable(),
      (e) => e,
    );
    expect(error.details.join()).toContain(expected);
    expect(site.upstream.requests).toEqual([]);
  });
});

describeWith('skopeo', ['skopeo'], () => {
  test('reads the image that is inside', async () => {
    await agent();
    const { archive } = await carried(await site.workshop.build({ recipe: await outer(carry()) }));
    const config = JSON.parse(await check(['skopeo', 'inspect', '--config', `oci-archive:${archive}:${name}`]));
    expect(config.config).toMatchObject({ Entrypoint: ['/usr/bin/runc'] });
    expect(config.config.Labels['org.opencontainers.image.title']).toBe('an agent');
  });
});
