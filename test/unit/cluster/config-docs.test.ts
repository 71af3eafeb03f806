/** The documentation of cluster files is what the code reads: its example loads, and no key is missing. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { formats } from '../../../src/cluster/config/schema.ts';
import { projectRoot } from '../../support/command.ts';
import { load } from './config-support.ts';

const text = readFileSync(join(projectRoot, 'docs/cluster-config.md'), 'utf8');

test('the example is a cluster of two nodes', () => {
  const example = /```yaml\n(.*?)```/s.exec(text)![1]!;
  expect(load(example).nodes.map((node) => node.name)).toEqual(['demo-control-plane', 'demo-worker']);
});

test('every key of both formats is in the table', () => {
  const schema = formats['kina.dev/v1alpha1'];
  const node = schema.shape.nodes.unwrap().element;
  const networking = schema.shape.networking.unwrap();
  const keys = [
    ...Object.keys(schema.shape).filter((key) => !['kind', 'apiVersion', 'networking'].includes(key)),
    ...Object.keys(networking.shape),
    ...Object.keys(node.shape),
    ...Object.keys(node.shape.extraMounts.unwrap().element.shape),
    ...Object.keys(node.shape.extraPortMappings.unwrap().element.shape),
  ];
  const table = text.slice(text.indexOf('## Keys'), text.indexOf('## Patches'));
  expect(keys.filter((key) => !new RegExp(`\`\\.?(networking\\.)?${key}(\\[\\])?\``).test(table))).toEqual([]);
});
