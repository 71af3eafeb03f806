/**
 * The project's own conformance suite for the Container Runtime Interface: everything that critest, the validation suite of
 * cri-tools, checks of a pod that can be a machine. `subjects.ts` says what stands for what.
 */
import { accounts } from './specs/accounts.ts';
import { containers } from './specs/containers.ts';
import { idempotence } from './specs/idempotence.ts';
import { imageVolumes } from './specs/image-volumes.ts';
import { images } from './specs/images.ts';
import { info } from './specs/info.ts';
import { namespaces } from './specs/namespaces.ts';
import { network, several } from './specs/network.ts';
import { privileges } from './specs/privileges.ts';
import { sandboxes } from './specs/sandboxes.ts';
import { seccomp } from './specs/seccomp.ts';
import type { Spec } from './specs/spec.ts';
import { streams } from './specs/streams.ts';
import { users } from './specs/users.ts';
import { volumes } from './specs/volumes.ts';

/** In the order in which they are run. */
export const conformance: readonly Spec[] = [
  info,
  sandboxes,
  containers,
  volumes,
  idempotence,
  images,
  imageVolumes,
  several,
  network,
  streams,
  namespaces,
  accounts,
  privileges,
  seccomp,
  users,
].flat();
