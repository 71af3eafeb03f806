/** The kubelet configuration that selects the service. Kubelets read the endpoint from their configuration file since 1.27. */
import semver from 'semver';
import { stringify } from 'yaml';
import { KinaError } from '../host/errors.ts';

export interface KubeletSettings {
  readonly configuration: Readonly<Record<string, unknown>>;
  readonly flags: readonly string[];
}

/** `endpoint`: unix:///PATH. Throws `usage` for an invalid version. */
export function kubeletSettings(endpoint: string, kubernetes: string): KubeletSettings {
  const version = semver.coerce(kubernetes);
  if (!version || !/^v?\d/.test(kubernetes))
    throw new KinaError('usage', `--kubernetes ${kubernetes}: expected a version, e.g. v1.34.0`);
  const inFile = semver.gte(version, '1.27.0');
  const flags = inFile
    ? []
    : [
        // removed in 1.24 together with dockershim, the alternative
        ...(semver.lt(version, '1.24.0') ? ['--container-runtime=remote'] : []),
        `--container-runtime-endpoint=${endpoint}`,
        `--image-service-endpoint=${endpoint}`,
      ];
  return {
    flags,
    configuration: {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      ...(inFile ? { containerRuntimeEndpoint: endpoint, imageServiceEndpoint: endpoint } : {}),
      // limits are set inside sandboxes, in a cgroup tree without systemd
      cgroupDriver: 'cgroupfs',
    },
  };
}

/** The file; its first lines list the required flags. */
export function kubeletText({ configuration, flags }: KubeletSettings): string {
  const along =
    flags.length > 0 ? `# kubelet also needs these flags:\n${flags.map((flag) => `#   ${flag}\n`).join('')}` : '';
  return along + stringify(configuration);
}
