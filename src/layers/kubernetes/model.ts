/** A source of Kubernetes, and what is needed to open one. */
import type { Artifact } from '../../artifacts/artifact.ts';
import type { Architecture } from '../../oci/platform.ts';
import type { Session } from '../../session/session.ts';

export const SOURCE_TYPES = ['release', 'ci', 'url', 'file', 'directory', 'source'] as const;
export type SourceType = (typeof SOURCE_TYPES)[number];

/** A file of a release: the program of a component, or the archive of its image. */
export interface ReleaseMember {
  /** `kube-apiserver` */
  readonly component: string;
  readonly form: 'program' | 'image';
}

/** The name under which a member is published and pinned: `kubelet`, `kube-apiserver.tar`. */
export function memberName({ component, form }: ReleaseMember): string {
  return form === 'image' ? `${component}.tar` : component;
}

export interface KubernetesSource {
  readonly type: SourceType;
  /** `v1.20.2` */
  readonly version: string;
  /** The argument, for messages and labels. */
  readonly origin: string;
  pin(members: readonly ReleaseMember[], architecture: Architecture): Promise<Artifact[]>;
}

/** The name of a pinned server tarball, which is pinned instead of its members. */
export const SERVER_TARBALL = 'kubernetes-server';

export interface SourceContext extends Session {
  /** The registry that clusters of this version expect the release's images to be named for: `registry.k8s.io`. */
  imageRepository(version: string): Promise<string>;
  /** `--set kubernetes=…`, for sources that do not state their version. */
  readonly declaredVersion: string | undefined;
  /** The architectures that the image is built for. */
  readonly architectures: readonly Architecture[];
}
