/** Names of the parts of a cluster. Scripts written for kind rely on these forms. */

export const roles = {
  controlPlane: 'control-plane',
  worker: 'worker',
  loadBalancer: 'external-load-balancer',
} as const;

/** Name of the context, user and cluster in a kubeconfig. */
export const contextName = (cluster: string): string => `kina-${cluster}`;

/** `kina` for the default cluster: scripts for kind run `docker network connect kind …` to attach a registry. */
export const networkName = (cluster: string): string => (cluster === 'kina' ? 'kina' : `kina-${cluster}`);

export const loadBalancerName = (cluster: string): string => `${cluster}-external-load-balancer`;

/** Port of the API server in the control planes and in the load balancer. */
export const apiServerPort = 6443;
