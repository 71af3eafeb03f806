/** `kubernetes`: binaries from the given Kubernetes source, and `/kind/version`, the version marker for tools. */
import { z } from 'zod';
import { KinaError } from '../../host/errors.ts';
import { bytesContent } from '../../tree/entry.ts';
import { file, Tree } from '../../tree/tree.ts';
import { defineKind } from '../kind.ts';
import { memberContents } from '../kubernetes/members.ts';
import { noPins } from '../step.ts';
import { imagePath } from './schema.ts';

const schema = z.strictObject({
  binaries: z.array(z.enum(['kubeadm', 'kubelet', 'kubectl'])).min(1),
  into: imagePath,
});

export const kubernetesKind = defineKind({
  name: 'kubernetes',
  version: 1,
  schema,
  needs: ['kubernetes'],
  summary: 'kubeadm, kubelet, kubectl from the Kubernetes source, and the version marker',

  async resolve(step, context) {
    if (!context.kubernetes)
      throw new KinaError('usage', 'this recipe needs a Kubernetes source', {
        hint: 'Name one: kina build node-image v1.34.2',
      });
    const artifacts = await context.kubernetes.pin(
      step.binaries.map((component) => ({ component, form: 'program' as const })),
      context.platform.architecture,
    );
    return { pins: { ...noPins, artifacts, inputs: { kubernetes: context.kubernetes.version } } };
  },

  async tree(step, pins, context) {
    const tree = new Tree();
    const contents = await memberContents(step.binaries, pins, context);
    step.binaries.forEach((name, i) => {
      tree.add(file(`${step.into}/${name}`, contents[i]!, `${context.owner}/${name}`, 0o755));
    });
    // No newline: readers compare the whole file (kind's node image contract).
    tree.add(file('kind/version', bytesContent(pins.inputs.kubernetes ?? ''), context.owner));
    return { tree };
  },
});
