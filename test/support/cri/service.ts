/** A CRI service that a test or a measurement runs against: kina's own, or the peer. */
import { openCri } from './client.ts';

export interface CriService {
  readonly name: string;
  /** Path of its socket. */
  readonly socket: string;
  readonly skip?: undefined;
  /** The process that answers at the socket. */
  readonly pid: number;
  /** Processes that it keeps for its pods beside what the pods are for: shims, monitors, agents. */
  helpers(): Promise<number[]>;
  /** The end of what it has said so far. */
  said(): Promise<string>;
  /** Removes all pods, ends it, removes its files. */
  stop(): Promise<void>;
}

/** Stops and removes every pod of a service; says so on stderr when one stays. */
export async function removePods(socket: string): Promise<void> {
  const client = openCri(socket);
  try {
    await client.ready(5);
    for (const { id } of (await client.call('listPodSandbox', {})).items) {
      await client.call('stopPodSandbox', { podSandboxId: id });
      await client.call('removePodSandbox', { podSandboxId: id });
    }
  } catch (error) {
    process.stderr.write(`a pod stays behind: ${(error as Error).message}\n`);
  } finally {
    client.close();
  }
}
