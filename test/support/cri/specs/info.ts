/** What a runtime says about itself. */
import assert from 'node:assert/strict';
import type { Spec } from './spec.ts';

export const info: readonly Spec[] = [
  {
    title: 'the version has a name, a number and the version of the interface',
    async run({ client }) {
      const said = await client.call('version', { version: '0.1.0' });
      for (const field of ['version', 'runtimeName', 'runtimeVersion', 'runtimeApiVersion'] as const)
        assert.notEqual(said[field], '', field);
    },
  },
  {
    title: 'the status says that runtime and network are ready',
    async run({ client }) {
      const { status } = await client.call('status', {});
      const isTrue = (wanted: string) => status?.conditions.some(({ type, status: is }) => type === wanted && is);
      assert.ok(isTrue('RuntimeReady'));
      assert.ok(isTrue('NetworkReady'));
    },
  },
];
