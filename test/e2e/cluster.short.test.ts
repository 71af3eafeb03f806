/** The shortest proof of the cluster lifecycle: one node on podman, from creation to nothing left. */
import { clusterRequirements } from '../support/cluster.ts';
import { clusterSuite } from '../support/cluster-suite.ts';
import { describeWith } from '../support/requirements.ts';

describeWith('a cluster of one node', clusterRequirements('podman'), () => {
  clusterSuite('one node on podman', { engine: 'podman', nodes: 1, controlPlanes: 1 });
});
