/** Conventions that building a node image and running it share. */
import semver from 'semver';

/** Labels of kina's images. */
export const labels = {
  kina: 'dev.kina.version',
  recipe: 'dev.kina.recipe',
  lock: 'dev.kina.lock',
  kubernetes: 'dev.kina.kubernetes',
  absent: 'dev.kina.absent',
  component: (name: string): string => `dev.kina.component.${name}`,
} as const;

/** Compares by MAJOR.MINOR.PATCH: 1.24.0-alpha.1 counts as 1.24, as kind does. */
export function versionAtLeast(version: string, minimum: string): boolean {
  const base = semver.coerce(version);
  return base !== null && semver.gte(base, minimum);
}

/** cgroupfs below Kubernetes 1.24, systemd from there (kind: pkg/build/nodeimage, kubeadm's own default changed then). */
export function cgroupDriver(kubernetesVersion: string): 'cgroupfs' | 'systemd' {
  return versionAtLeast(kubernetesVersion, '1.24.0') ? 'systemd' : 'cgroupfs';
}

/** The default name of an image. `+` is not allowed in a tag (OCI distribution, "reference" grammar). */
export function defaultTag(name: string, version: string): string {
  return `localhost/kina/${name}:${version.replace(/[^\w.-]/g, '_')}`;
}
