/** The whole life of clusters on Apple's container, through the stand-in for it: the same list as on the engines. */
import { clusterRequirements } from '../support/cluster.ts';
import { clusterSuite } from '../support/cluster-suite.ts';
import { describeWith } from '../support/requirements.ts';

describeWith("clusters on the stand-in for Apple's container", ['full tier', ...clusterRequirements('apple')], () => {
  clusterSuite('one node on the stand-in', { engine: 'apple', nodes: 1, controlPlanes: 1 });
  clusterSuite('a control plane and a worker on the stand-in', {
    engine: 'apple',
    nodes: 2,
    controlPlanes: 1,
    config: {
      kind: 'Cluster',
      apiVersion: 'kina.dev/v1alpha1',
      nodes: [{ role: 'control-plane' }, { role: 'worker' }],
    },
  });
});
