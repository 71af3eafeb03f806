/** What a source of Kubernetes is, whichever kind, and what opening one takes. */
import type { Artifact } from '../../artifacts/artifact.ts';
import type { ResolveOptions } from '../../artifacts/checksums.ts';
import type { Fetcher } from '../../artifacts/fetch.ts';
import type { Transport } from '../../host/http.ts';
import type { Reporter } from '../../host/progress.ts';
import type { Architecture } from '../../oci/platform.ts';
import type { Store } from '../../oci/store/store.ts';
import type { Unpacker } from '../../tree/unpack.ts';

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

export interface SourceContext {
  readonly checksums: ResolveOptions;
  readonly store: Store;
  readonly unpacker: Unpacker;
  readonly transport: Transport;
  readonly fetcher: Fetcher;
  readonly reporter: Reporter;
  readonly signal: AbortSignal | undefined;
  /** Reads a small document such as a version marker. */
  text(url: string): Promise<string>;
  /** The registry in whose name clusters of this version ask for the release's images: `registry.k8s.io`. */
  imageRepository(version: string): Promise<string>;
  /** `--set kubernetes=…`, for sources that do not say their version. */
  readonly declaredVersion: string | undefined;
  /** The architectures that the image is built for. */
  readonly architectures: readonly Architecture[];
}
