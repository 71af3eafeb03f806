/** User namespaces of pods: root in a container is an ordinary account of the sandbox. */
import type { NamespaceOption, UserNamespace } from '../api/messages.ts';
import { invalid, unsupported } from '../api/status.ts';

/** As in an OCI configuration's `linux`. */
interface OciMapping {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}
export interface OciMappings {
  readonly uidMappings: OciMapping[];
  readonly gidMappings: OciMapping[];
}

/** Undefined when the pod uses the sandbox's accounts. Throws unless it is a user namespace of a pod. */
export function userNamespace(options: NamespaceOption | null | undefined, able: boolean): OciMappings | undefined {
  const wish = options?.usernsOptions;
  if (!wish || wish.mode === 'NODE') return undefined;
  if (wish.mode !== 'POD') throw invalid(`a user namespace is the pod's or the node's, not ${wish.mode}`);
  if (!able)
    throw unsupported('user namespaces', 'the kernel of the sandbox is older than Linux 5.19, or forbids them');
  return { uidMappings: mapping(wish, 'uids'), gidMappings: mapping(wish, 'gids') };
}

/** The kubelet assigns each pod one range that begins with root. */
function mapping(wish: UserNamespace, kind: 'uids' | 'gids'): OciMapping[] {
  const [range, ...others] = wish[kind];
  if (!range || others.length > 0)
    throw invalid(`a user namespace needs one range of ${kind}, not ${wish[kind].length}`);
  if (range.containerId !== 0 || range.length === 0) throw invalid(`the range of ${kind} must begin with 0 in the pod`);
  return [{ containerID: 0, hostID: range.hostId, size: range.length }];
}
