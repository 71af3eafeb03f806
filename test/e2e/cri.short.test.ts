/** The shortest proof of the CRI service: one sandbox on podman, a container in it, from its image to nothing left. */
import { criRequirements } from '../support/cri/host.ts';
import { criShortSuite } from '../support/cri/suite.ts';
import { describeUnless, missing, noDebianMirror } from '../support/requirements.ts';

describeUnless(missing(criRequirements('podman')) ?? (await noDebianMirror()), 'one pod under kina cri', () => {
  criShortSuite('podman');
});
