/** What belongs to one stand-in on podman: told by the beginning of its name. */
import { createHash } from 'node:crypto';

/** `state` is the absolute folder of the stand-in's state. */
export const prefixOf = (state: string): string =>
  `apple-${createHash('sha256').update(state).digest('hex').slice(0, 8)}`;
