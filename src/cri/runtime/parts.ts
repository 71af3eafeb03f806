/** The parts that the RPCs of RuntimeService use. */
import type { ImageLibrary } from '../images/library.ts';
import type { StreamingServer } from '../streaming/server.ts';
import type { Containers } from './containers.ts';
import type { Events } from './events.ts';
import type { Health } from './health.ts';
import type { Pods } from './pods.ts';

export interface ServiceParts {
  readonly pods: Pods;
  readonly containers: Containers;
  readonly images: ImageLibrary;
  readonly events: Events;
  readonly streaming: StreamingServer;
  readonly health: Health;
  readonly version: string;
}
