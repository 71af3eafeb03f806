/**
 * What every provider's sandboxes have to do, once: the list of the issue and of docs/cri.md. Each provider is a call; the
 * short list is one pod from its beginning to nothing left.
 */
import { afterAll, beforeAll, describe } from 'vitest';
import type { CriProvider } from './host.ts';
import { type CriHouse, openCriHouse } from './house.ts';
import { containerLifecycle } from './suite/containers.ts';
import { growth } from './suite/growth.ts';
import { kills } from './suite/kills.ts';
import { services } from './suite/network.ts';
import { refusals } from './suite/refusals.ts';
import { restarts } from './suite/restarts.ts';
import { sandboxLifecycle } from './suite/sandboxes.ts';
import { sharing } from './suite/sharing.ts';
import { onePod } from './suite/short.ts';
import { olderVersion } from './suite/versions.ts';

/** How much of what takes long: on podman what is promised, elsewhere enough to see a provider's own ways. */
const amounts = {
  podman: { sandboxes: 100, alive: 30, execs: 300, rounds: 20, clients: 3 },
  docker: { sandboxes: 20, alive: 8, execs: 100, rounds: 6, clients: 3 },
  apple: { sandboxes: 20, alive: 8, execs: 100, rounds: 6, clients: 2 },
} as const satisfies Record<CriProvider, object>;

export function criSuite(title: string, provider: CriProvider): void {
  withHouse(title, provider, (house) => {
    sandboxLifecycle(house);
    containerLifecycle(house);
    sharing(house);
    refusals(house);
    olderVersion(house);
    services(house);
    growth(house, amounts[provider]);
    restarts(house);
    kills(house, amounts[provider]);
  });
}

export function criShortSuite(provider: CriProvider): void {
  withHouse(`one pod on ${provider}`, provider, (house) => {
    onePod(house);
    kills(house, { rounds: 3, clients: 2 });
  });
}

function withHouse(title: string, provider: CriProvider, tests: (house: () => CriHouse) => void): void {
  describe(title, () => {
    let opened: CriHouse | undefined;
    beforeAll(async () => {
      opened = await openCriHouse(provider);
    });
    afterAll(() => opened?.close());
    tests(() => opened!);
  });
}
