/**
 * `npm run bench:push`: kina and skopeo push the same image to the same kind of registry, in turn, in one run. Every push
 * goes to an empty registry of its own, so that neither side finds or mounts what the other brought. The registry is
 * Debian's docker-registry on loopback: what is measured is reading, hashing, HTTP and, where layers are not compressed
 * yet, how well compression and upload overlap.
 */
import { execFileSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Descriptor, mediaType } from '../../src/oci/descriptor.ts';
import { buildImage, buildIndex } from '../../src/oci/image/build.ts';
import { platformOf } from '../../src/oci/platform.ts';
import { Store } from '../../src/oci/store/store.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { missing } from '../support/requirements.ts';
import { canMeasure, inTurn, median, type Run, type Side } from './measure.ts';

const root = resolve(import.meta.dirname, '../..');
const scratch = mkdtempSync(join(tmpdir(), 'kina-bench-push-'));
const rounds = Number(process.env.KINA_BENCH_ROUNDS ?? 5);
/** As a node image of two platforms has them; 500 MB in all. */
const layerSizes = [95, 105, 160, 80, 50, 8, 2].map((size) => size * 1_000_000);

/** Noise for `share` of the bytes, then zeros: a compressor has work, and what is left has about that size. */
async function* content(seed: number, size: number, share: number): AsyncGenerator<Buffer> {
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
  const piece = 1 << 20;
  for (let done = 0; done < size; done += piece) {
    const length = Math.min(piece, size - done);
    const random = noise.update(Buffer.alloc(Math.ceil(length * share)));
    yield Buffer.concat([random, Buffer.alloc(length - random.length)]);
  }
}

async function makeImage(store: Store, name: string, sizes: readonly number[], share: number): Promise<void> {
  const layers = [];
  for (const [i, size] of sizes.entries()) {
    const descriptor: Descriptor = { mediaType: mediaType.layer, ...(await store.write(content(i + 1, size, share))) };
    layers.push({ diffId: descriptor.digest, descriptor, history: { createdBy: `layer ${i}` } });
  }
  const { manifest } = await buildImage(store, { platform: platformOf('amd64'), layers, config: {}, created: 0 });
  await store.tag(name, await buildIndex(store, [manifest]));
}

const storeFolder = join(scratch, 'store');
const environment = { KINA_CACHE_DIR: storeFolder, KINA_CONFIG: join(scratch, 'none.yaml'), CI: '1' };
const kina = (...args: string[]): string[] => [process.execPath, join(root, 'bin/kina.js'), ...args, '--quiet'];
const layout = (name: string): string => join(scratch, `${name}-layout`);

let registry: Registry | undefined;
async function freshRegistry(): Promise<void> {
  await registry?.stop();
  const started = await startRegistry();
  if (started.skip !== undefined) throw new Error(started.skip);
  registry = started;
}
/** A push into a registry that is started before each run. `argv` is asked then. */
function side(name: string, argv: () => string[], prepare?: () => void): Side {
  return {
    name,
    get steps() {
      return [{ argv: argv(), env: environment }];
    },
    async prepare() {
      prepare?.();
      await freshRegistry();
    },
  };
}

function row(name: string, target: string, own: readonly Run[], peer?: readonly Run[]): void {
  const wall = median(own.map((r) => r.wall));
  const other = peer && median(peer.map((r) => r.wall));
  const cells = [
    name,
    `${wall.toFixed(2)} s`,
    `${median(own.map((r) => r.cpu)).toFixed(2)} s`,
    `${Math.round(Math.max(...own.map((r) => r.memory)))} MiB`,
    other === undefined ? '' : `${other.toFixed(2)} s`,
    peer ? `${median(peer.map((r) => r.cpu)).toFixed(2)} s` : '',
    other === undefined ? '' : (wall / other).toFixed(2),
    target,
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

const reason = canMeasure ? missing(['docker-registry', 'skopeo']) : 'GNU time is not at /usr/bin/time';
if (reason) {
  console.error(`npm run bench:push cannot measure: ${reason}`);
  process.exit(1);
}
try {
  const store = await Store.open(storeFolder);
  await makeImage(store, 'ready:1', layerSizes, 0.99);
  await makeImage(store, 'plain:1', layerSizes, 0.4);
  const run = (argv: string[]): void =>
    void execFileSync(argv[0]!, argv.slice(1), { env: { ...process.env, ...environment }, stdio: 'ignore' });
  // Compressed once, beforehand.
  await freshRegistry();
  run(kina('push', 'ready:1', `${registry?.host}/ready:1`));
  run(kina('pull', `${registry?.host}/ready:1`));
  run(kina('image', 'tag', `${registry?.host}/ready:1`, 'ready:zstd'));
  run(kina('image', 'save', 'ready:zstd', '--output', `type=oci,dest=${layout('ready')}`));
  run(kina('image', 'save', 'plain:1', '--output', `type=oci,dest=${layout('plain')}`));

  console.log(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.versions.node}, medians of ${rounds}\n`);
  console.log(
    '| push to an empty registry | kina | processor | memory | skopeo copy | its processor | ratio | target |',
  );
  console.log('| --- | --- | --- | --- | --- | --- | --- | --- |');
  const skopeo =
    (name: string, ...more: string[]) =>
    () => [
      'skopeo',
      'copy',
      '--quiet',
      '--all',
      '--dest-tls-verify=false',
      ...more,
      `oci:${layout(name)}`,
      `docker://${registry?.host}/image:1`,
    ];
  const ready = await inTurn(
    [side('kina', () => kina('push', 'ready:zstd', `${registry?.host}/image:1`)), side('skopeo', skopeo('ready'))],
    rounds,
  );
  row('500 MB, compressed before', '≤ 1.20', ready[0]!, ready[1]!);

  const forget = (): void => rmSync(join(storeFolder, 'records/compressed'), { recursive: true, force: true });
  const plain = await inTurn(
    [
      side('kina', () => kina('push', 'plain:1', `${registry?.host}/image:1`), forget),
      side('skopeo', skopeo('plain', '--dest-compress', '--dest-compress-format', 'zstd')),
    ],
    rounds,
  );
  row('500 MB of tar, compressed with zstd on the way', '', plain[0]!, plain[1]!);

  await freshRegistry();
  const again = kina('push', 'ready:zstd', `${registry?.host}/image:1`);
  run(again);
  const [repeated] = await inTurn([{ name: 'kina', steps: [{ argv: again, env: environment }] }], rounds);
  row('again, unchanged', '≤ 1 s', repeated!);
} finally {
  await registry?.stop();
  rmSync(scratch, { recursive: true, force: true });
}
