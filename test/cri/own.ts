/**
 * The project's own conformance suite against a service at a socket, for where critest is not at hand: the same behaviours,
 * counted in the same way.
 */
import { openCri } from '../support/cri/client.ts';
import { removePods } from '../support/cri/service.ts';
import { openWorld, Skip, type Spec, specSeconds, type World } from '../support/cri/specs/spec.ts';
import { conformance } from '../support/cri/specs.ts';
import type { Outcome } from './report.ts';

export interface OwnOptions {
  /** Of this host; pods may mount what lies in it. */
  readonly folder: string;
  /** Of titles: a regular expression. */
  readonly focus: string | undefined;
  readonly websocket: boolean;
}

/** Runs the specifications one after the other and prints each to stderr. Rejects when nothing answers at the socket. */
export async function runOwn(socket: string, { folder, focus, websocket }: OwnOptions): Promise<Outcome> {
  const client = openCri(socket);
  const [failed, skipped]: [Outcome['failed'][number][], Outcome['skipped'][number][]] = [[], []];
  let passed = 0;
  // The first signal lets the running one remove what it made, and the service be stopped in order.
  let isOver = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      isOver = true;
    });
  try {
    await client.ready(30);
    const world = openWorld(client, folder, websocket ? 'WebSocket' : 'SPDY');
    for (const spec of conformance) {
      if (isOver) break;
      if (focus !== undefined && !new RegExp(focus).test(spec.title)) continue;
      const start = performance.now();
      const ended = await outcomeOf(spec, world);
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      console.error(
        `${ended === undefined ? 'ok' : ended instanceof Skip ? 'skip' : 'FAIL'} ${seconds} s  ${spec.title}`,
      );
      if (ended === undefined) passed += 1;
      else (ended instanceof Skip ? skipped : failed).push({ name: spec.title, reason: ended.message });
      // What a failure left would be found by the next.
      if (ended && !(ended instanceof Skip)) await removePods(socket);
    }
  } finally {
    client.close();
  }
  return { passed, failed, skipped };
}

async function outcomeOf(spec: Spec, world: World): Promise<Error | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${specSeconds} s`)), specSeconds * 1000);
  });
  try {
    await Promise.race([spec.run(world), late]);
    return undefined;
  } catch (error) {
    return error as Error;
  } finally {
    clearTimeout(timer);
  }
}
