/** What a source of Kubernetes is, whichever kind, and what opening one takes. */
import type { Artifact } from '../../artifacts/artifact.ts';
import type { Architecture } from '../../oci/platform.ts';
import type { Session } from '../../session/session.ts';

export const SOURCE_TYPES = ['release', 'ci', 'url', 'file', 'directory', 'source'] as const;
export type SourceType = (typeof SOURCE_TYPES)[number];

export interface KubernetesSource {
  readonly type: SourceType;
  /** `v1.20.2` */
  readonly version: string;
  /** What the person gave, for messages and labels. */
  readonly origin: string;
  /** Pins these members (`kubelet`, `kube-apiserver.tar`) for one architecture. */
  pin(members: readonly string[], architecture: Architecture): Promise<Artifact[]>;
}

/** The name under which a server tarball is pinned, instead of its members. */
export const SERVER_TARBALL = 'kubernetes-server';

export interface SourceContext extends Session {
  /** The registry that clusters of this version expect the release's images to be named for: `registry.k8s.io`. */
  imageRepository(version: string): Promise<string>;
  /** `--set kubernetes=…`, for sources that do not state their version. */
  readonly declaredVersion: string | undefined;
  /** The architectures that the image is built for. */
  readonly architectures: readonly Architecture[];
}
