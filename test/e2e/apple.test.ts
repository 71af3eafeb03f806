/** The whole life of clusters on Apple's container, through the stand-in for it: the same list as on the engines. */
import { clusterRequirements } from '../support/cluster.ts';
import { clusterSuite } from '../support/cluster-suite.ts';
import { describeWith } from '../support/requirements.ts';

const config = (...roles: string[]) => ({
  kind: 'Cluster',
  apiVersion: 'kina.dev/v1alpha1',
  nodes: roles.map((role) => ({ role })),
});

describeWith("clusters on the stand-in for Apple's container", ['full tier', ...clusterRequirements('apple')], () => {
  clusterSuite('one node on the stand-in', { engine: 'apple', nodes: 1, controlPlanes: 1 });
  clusterSuite('a control plane and a worker on the stand-in', {
    engine: 'apple',
    nodes: 2,
    controlPlanes: 1,
    config: config('control-plane', 'worker'),
  });
  // Without names between nodes: after a start, etcd's members find each other by what kina has written alone.
  clusterSuite('three control planes and a worker on the stand-in', {
    engine: 'apple',
    nodes: 4,
    controlPlanes: 3,
    config: config('control-plane', 'control-plane', 'control-plane', 'worker'),
  });
});
