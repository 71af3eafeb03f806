/** Flags that several commands share, with the values that the shell completes, and the types that handlers see. */
import { type FlagsOf, flag, type Values } from './command.ts';

export const clusterNames: Values = async () => {
  const { listClusters } = await import('../cluster/state.ts');
  return [...new Set((await listClusters({})).map((one) => one.name))];
};
export const nodeNames: Values = async () => {
  const { listClusters } = await import('../cluster/state.ts');
  return (await listClusters({})).flatMap((one) => one.nodes.map((node) => node.name));
};
export const recipeNames: Values = async () => (await import('../build/recipe/load.ts')).shippedRecipes();
const providers: Values = async () => (await import('../provider/provider.ts')).providerNames;
export const platformNames: Values = () => ['linux/amd64', 'linux/arm64'];
export const compressionNames: Values = () => ['none', 'zstd', 'gzip'];

export const jsonFlag = flag('--json', 'output JSON');

// Clusters

export const nameFlag = flag('-n, --name <name>', 'cluster name (default: $KINA_CLUSTER_NAME, else kina)', {
  values: clusterNames,
});
export const providerFlag = flag(
  '--provider <name>',
  'podman, docker or apple (default: $KINA_PROVIDER, else the first one that works)',
  { values: providers },
);
export const kubeconfigFlag = flag(
  '--kubeconfig <file>',
  'kubeconfig file (default: $KUBECONFIG, else ~/.kube/config)',
);
export const waitFlag = flag('--wait <duration>', 'how long to wait for nodes and system workloads; 0s skips waiting', {
  default: '5m',
  values: () => ['0s', '5m'],
});
export const internalFlag = flag('--internal', "use the node's own address, for clients inside the cluster network");
export const nodesFlag = flag('--nodes <list>', 'comma-separated list of nodes (default: all)', { values: nodeNames });
export const evenControlPlanesFlag = flag(
  '--allow-even-control-planes',
  'allow an even number of control planes (adds no fault tolerance)',
);

// Downloads and registries

export const mirrorFlag = flag(
  '--mirror <url>',
  'fetch https://HOST/PATH from URL/HOST/PATH (repeatable; default: $KINA_MIRROR)',
  { repeatable: true },
);
export const debianMirrorFlags = [
  flag('--debian-mirror <url>', 'base URL of the Debian archive (default: $KINA_DEBIAN_MIRROR)'),
  flag(
    '--debian-security-mirror <url>',
    'base URL of the Debian security archive (default: $KINA_DEBIAN_SECURITY_MIRROR)',
  ),
] as const;
export const mirrorFlags = [
  mirrorFlag,
  ...debianMirrorFlags,
  flag('--offline', 'use only what is in the store; fail if something is missing'),
] as const;
export type MirrorFlags = FlagsOf<typeof mirrorFlags>;

export const insecureRegistryFlag = flag(
  '--insecure-registry <host[:port]>',
  'registry to access over plain HTTP (repeatable)',
  { repeatable: true },
);

// Images

export const platformsFlag = flag('--platform <list>', 'comma-separated list of platforms (default: all)', {
  values: platformNames,
});
export const platformFlag = flag(
  '--platform <platform>',
  'linux/arm64 or linux/amd64 (default: the only one, else the platform of this host)',
  { values: platformNames },
);
export const outputDescription = 'type=oci|oci-archive|docker-archive,dest=PATH (repeatable)';
export const metadataDescription = 'write digest and names as JSON, with the keys of docker buildx';

// Builds

export const lockedRecipeFlag = flag(
  '--recipe <name|file>',
  'recipe of the lock, if it is not one of the shipped recipes (default: the one named in the lock)',
  { values: recipeNames },
);
/** What goes into an image. */
export const sourceFlags = [
  flag(
    '--recipe <name|file>',
    'shipped recipe, or path of a recipe file (default: the recipe of the lock, else node)',
    {
      values: recipeNames,
    },
  ),
  flag('--type <type>', 'type of the source: release, ci, url, file, directory, source (default: detected)', {
    values: () => ['release', 'ci', 'url', 'file', 'directory', 'source'],
  }),
  flag('--platform <list>', 'comma-separated list of linux/arm64, linux/amd64 (default: the platform of this host)', {
    values: platformNames,
  }),
  flag('--arch <arch>', 'build for one architecture, arm64 or amd64, as in kind', { values: () => ['amd64', 'arm64'] }),
  flag('--set <key=value>', 'set a variable of the recipe (repeatable)', { repeatable: true }),
  ...mirrorFlags,
  insecureRegistryFlag,
  flag('--strict', 'fail if an optional component is not available upstream'),
] as const;
export type SourceFlags = FlagsOf<typeof sourceFlags>;

// Signatures

/** The public instance of Sigstore, run by the Linux Foundation's OpenSSF. */
export const publicInstance = { fulcio: 'https://fulcio.sigstore.dev', rekor: 'https://rekor.sigstore.dev' } as const;
export const instanceFlags = [
  flag('--fulcio-url <url>', `keyless: URL of the certificate authority (default: ${publicInstance.fulcio})`),
  flag('--rekor-url <url>', `keyless: URL of the transparency log (default: ${publicInstance.rekor})`),
] as const;
export type InstanceFlags = FlagsOf<typeof instanceFlags>;

/** For commands that do more than sign. `when` is a condition, e.g. `with --push: `. */
export function signingFlags(when = '') {
  return [
    flag('--sign', `${when}sign the image and its documents with the identity of the CI job (Sigstore, keyless)`),
    flag(
      '--sign-key <file>',
      `${when}sign with this private key instead (PEM; $KINA_SIGN_PASSPHRASE is its passphrase)`,
    ),
    ...instanceFlags,
  ] as const;
}
export type SigningFlags = FlagsOf<ReturnType<typeof signingFlags>>;

// Recipes and images by name

export const imageArgument = { name: '<ref>', description: 'name of the image' } as const;
export const recipeArgument = {
  name: '<name>',
  description: 'shipped recipe, or path of a recipe file',
  values: recipeNames,
} as const;

// The CRI service

export const criSocket = 'unix:///var/run/kina-cri.sock';
export const criProviderFlag = flag(
  '--provider <name>',
  'provider of the sandboxes: apple, docker or podman (default: $KINA_PROVIDER, else the first one that works)',
  { values: providers },
);
export const criConfigFlag = flag(
  '--config <file>',
  'YAML settings file of the service, e.g. `sandboxImage: NAME` (- reads standard input); flags override it',
);
export const sandboxImageFlag = flag('--sandbox-image <ref>', 'use this image instead of building one');
