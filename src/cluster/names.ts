/** What things of a cluster are called. Scripts written for kind rely on these forms. */

export const roles = {
  controlPlane: 'control-plane',
  worker: 'worker',
  loadBalancer: 'external-load-balancer',
} as const;

/** Context, user and cluster in a kubeconfig. */
export const contextName = (cluster: string): string => `kina-${cluster}`;

/** Scripts that put a registry beside the nodes say `docker network connect kind …`: so the default's is `kina`. */
export const networkName = (cluster: string): string => (cluster === 'kina' ? 'kina' : `kina-${cluster}`);

export const loadBalancerName = (cluster: string): string => `${cluster}-external-load-balancer`;

/** Where the API server listens on every control plane and on the load balancer. */
export const apiServerPort = 6443;
