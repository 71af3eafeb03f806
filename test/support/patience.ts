/** How long `vi.waitFor` waits: vitest's second is too short on a busy machine, and has no setting as `expect.poll` has. */
import { vi } from 'vitest';

const { waitFor } = vi;
vi.waitFor = (callback, options = 15_000) => waitFor(callback, options);
