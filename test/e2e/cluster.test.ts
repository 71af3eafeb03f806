/** Larger clusters, and the other engine. */
import { clusterRequirements } from '../support/cluster.ts';
import { clusterSuite } from '../support/cluster-suite.ts';
import { describeWith } from '../support/requirements.ts';

const config = (...roles: string[]) => ({
  kind: 'Cluster',
  apiVersion: 'kind.x-k8s.io/v1alpha4',
  nodes: roles.map((role) => ({ role })),
});

describeWith('clusters of several nodes', ['full tier', ...clusterRequirements('podman')], () => {
  clusterSuite('one control plane and two workers on podman', {
    engine: 'podman',
    nodes: 3,
    controlPlanes: 1,
    config: config('control-plane', 'worker', 'worker'),
  });
  clusterSuite('three control planes and a worker on podman', {
    engine: 'podman',
    nodes: 4,
    controlPlanes: 3,
    config: config('control-plane', 'control-plane', 'control-plane', 'worker'),
  });
});

describeWith('a cluster on docker', ['full tier', ...clusterRequirements('docker')], () => {
  clusterSuite('one node on docker', { engine: 'docker', nodes: 1, controlPlanes: 1 });
});
