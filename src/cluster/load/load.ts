/**
 * The nodes of a cluster as a sink: each node says what it has, the rest is planned before anything moves, and then every
 * node gets one archive of what it lacks, all nodes at once, with blobs from where the image is. containerd 1.6 to 2.1
 * import an archive without the blobs that they have.
 *
 * Between question and import a node may lose a blob to its garbage collector. The import then fails and leaves nothing
 * behind, and is tried once more with what is missing now.
 */
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { KinaError } from '../../host/errors.ts';
import type { Reporter, Task } from '../../host/progress.ts';
import type { Image } from '../../oci/image/image.ts';
import { tarSize, tarStream } from '../../oci/output/tar.ts';
import type { Provider } from '../../provider/provider.ts';
import { askNode, diskFull, importOn, type NodeImages } from './node-images.ts';
import { isPresent, type NodePlan, planNode } from './plan.ts';
import type { LoadSource } from './sources.ts';

/** The result for one node. */
export interface LoadedNode {
  readonly node: string;
  readonly loaded: readonly string[];
  /** Names that stood for their images before. */
  readonly right: readonly string[];
  /** Bytes of blobs that were sent, and of layers that the node had. */
  readonly sent: number;
  readonly there: number;
}

/**
 * Loads all images of `source` into `nodes` (names of running nodes). Throws `platform`, `disk-full` or `conflict` before
 * anything changes, where that can be known. Otherwise it throws after the other nodes are done; a node has all of the images
 * or none.
 */
export async function loadImages(
  provider: Provider,
  nodes: readonly string[],
  source: LoadSource,
  reporter: Reporter,
  signal?: AbortSignal,
): Promise<LoadedNode[]> {
  const states = await Promise.all(nodes.map((node) => askNode(provider, node, signal)));
  const missing = source.known?.filter(({ names, config }) =>
    states.some((state) => names.some((name) => !isPresent(state, name, config))),
  );
  const done = source.known?.filter((one) => !missing?.includes(one)).flatMap(({ names }) => names) ?? [];
  if (done.length > 0) reporter.info(`${done.join(', ')}: already on ${list(nodes)}`);
  if (missing?.length === 0) return nodes.map((node) => ({ node, loaded: [], right: done, sent: 0, there: 0 }));

  const task = reporter.task('read', `reading ${source.title}`);
  const platforms = [...new Map(states.map(({ platform }) => [platform.architecture, platform])).values()];
  const names = missing && new Set(missing.flatMap((one) => one.names));
  let images: readonly Image[] = [];
  const plan = (state: NodeImages) => planNode(state, images, randomBytes(6).toString('hex'));
  let plans: NodePlan[];
  try {
    images = await source.open(platforms, names);
    checkNames(images);
    plans = await Promise.all(states.map(plan));
  } catch (error) {
    task.fail();
    throw error;
  }
  task.done();
  for (const { state, sent } of plans)
    if (sent > state.free) throw diskFull(state.node, [`the images need ${sent} bytes, ${state.free} bytes are free`]);

  const work = plans.filter(({ arrivals }) => arrivals.length > 0);
  reporter.expect(
    'output',
    work.length,
    work.reduce((sum, { members }) => sum + tarSize(members), 0),
  );
  const settled = await Promise.allSettled(
    plans.map(async (first) => {
      if (first.arrivals.length === 0) reporter.info(`${first.present.join(', ')}: already on ${first.state.node}`);
      else await send(provider, first, plan, reporter, signal);
      return outcome(first, done);
    }),
  );
  const failures = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
  if (failures.length > 0) throw together(failures, nodes);
  return settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
}

function outcome(plan: NodePlan, done: readonly string[]): LoadedNode {
  const { state, arrivals, sent, there } = plan;
  const loaded = arrivals.flatMap(({ names }) => names);
  const right = [...done, ...plan.present];
  return loaded.length === 0
    ? { node: state.node, loaded, right, sent: 0, there: 0 }
    : { node: state.node, loaded, right, sent, there };
}

async function send(
  provider: Provider,
  first: NodePlan,
  planAgain: (state: NodeImages) => Promise<NodePlan>,
  reporter: Reporter,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { node } = first.state;
  const task = reporter.task('output', `loading into ${node}`);
  try {
    let failure = await importPlan(provider, first, task, signal);
    if (failure?.missing)
      failure = await importPlan(provider, await planAgain(await askNode(provider, node, signal)), task, signal);
    if (failure) throw failure.error;
  } catch (error) {
    task.fail();
    throw error;
  }
  task.done();
}

async function importPlan(
  provider: Provider,
  { state, arrivals, members, blobs }: NodePlan,
  task: Task,
  signal: AbortSignal | undefined,
) {
  if (arrivals.length === 0) return undefined;
  const total = tarSize(members);
  // An archive that breaks off makes the import fail with an error of containerd; this is the reason.
  let broken: unknown;
  const bytes = async function* () {
    let done = 0;
    try {
      for await (const chunk of tarStream(blobs, members)) {
        yield chunk;
        done += chunk.length;
        task.progress(done, total);
      }
    } catch (error) {
      broken = error;
    }
  };
  const archive = Readable.from(bytes(), { objectMode: false });
  try {
    const failure = await importOn(provider, state, archive, arrivals, signal);
    if (broken) throw broken;
    return failure;
  } finally {
    archive.destroy(); // a failed import has not read all of it
  }
}

/** Two images cannot have one name. */
function checkNames(images: readonly Image[]): void {
  const seen = new Map<string, Image>();
  for (const image of images)
    for (const name of image.names) {
      const other = seen.get(name);
      if (other && other !== image) throw new KinaError('conflict', `two images to load have the name ${name}`);
      seen.set(name, image);
    }
}

function together(failures: readonly unknown[], nodes: readonly string[]): unknown {
  const known = failures.filter((error) => error instanceof KinaError);
  const [first] = failures;
  if (failures.length === 1 || known.length < failures.length) return first;
  return new KinaError(known[0]!.code, `failed to load the images into ${failures.length} of ${nodes.length} nodes`, {
    details: known.flatMap(({ message, details }) => [message, ...details]),
    ...(known[0]!.hint ? { hint: known[0]!.hint } : {}),
  });
}

function list(nodes: readonly string[]): string {
  return nodes.length > 3 ? `all ${nodes.length} nodes` : nodes.join(', ');
}
