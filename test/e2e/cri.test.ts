/** Everything that sandboxes and containers have to do, on each provider; Apple's is the stand-in. */
import { criRequirements } from '../support/cri/host.ts';
import { criSuite } from '../support/cri/suite.ts';
import { describeWith } from '../support/requirements.ts';

describeWith('pods under kina cri on podman', ['full tier', ...criRequirements('podman')], () => {
  criSuite('podman', 'podman');
});

describeWith('pods under kina cri on docker', ['full tier', ...criRequirements('docker')], () => {
  criSuite('docker', 'docker');
});

describeWith(
  "pods under kina cri on the stand-in for Apple's container",
  ['full tier', ...criRequirements('apple')],
  () => {
    criSuite('the stand-in', 'apple');
  },
);
