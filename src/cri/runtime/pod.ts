/** One sandbox and its containers, as the service knows them while it runs. */
import type { AgentClient } from '../agent/client.ts';
import type { AgentContainer } from '../agent/protocol.ts';
import type { ContainerRecord, PodRecord } from './records.ts';

export class PodContainer {
  record: ContainerRecord;
  /** The agent's last report. */
  now: AgentContainer;

  constructor(record: ContainerRecord) {
    this.record = record;
    this.now = record.last ?? unknownContainer(record);
  }

  get id(): string {
    return this.record.id;
  }

  get state(): AgentContainer['state'] {
    return this.now.state;
  }
}

export class Pod {
  record: PodRecord;
  readonly agent: AgentClient;
  readonly containers = new Map<string, PodContainer>();
  /** Stops watching the agent. */
  watch = new AbortController();
  /** False when the machine no longer exists at the provider. */
  hasMachine = true;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(record: PodRecord, agent: AgentClient) {
    this.record = record;
    this.agent = agent;
  }

  get id(): string {
    return this.record.id;
  }

  get isReady(): boolean {
    return this.record.state === 'ready';
  }

  /** Serializes changes of the sandbox as a whole. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work, work);
    this.#turn = mine.catch(() => {});
    return mine;
  }
}

function unknownContainer({ id, createdAt }: ContainerRecord): AgentContainer {
  const never = '0';
  const times = { createdAt, startedAt: never, finishedAt: never };
  return { id, state: 'created', pid: 0, ...times, exitCode: 0, oomKilled: false };
}

/** Nanoseconds since 1970, as text. */
export const nanoseconds = (): string => `${BigInt(Date.now()) * 1_000_000n}`;
