/**
 * The stand-in for Apple's container: as strict as the real one, with its words. What it must not be is more patient than
 * the real one, for then kina's tests through it would prove nothing.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { grammar, parse } from '../../apple/grammar.ts';
import { compact, pretty } from '../../apple/json.ts';
import { layerProblems } from '../../apple/layers.ts';
import type { Refusal } from '../../apple/refusal.ts';
import type { TarMember } from '../../apple/tar.ts';
import { appleReference } from '../../support/apple.ts';
import { describeUnless } from '../../support/requirements.ts';

const refused = (argv: readonly string[], version = '1.2.2') => {
  try {
    return parse(argv, version);
  } catch (error) {
    const { code, message } = error as Refusal;
    return [code, message.trim()];
  }
};

describe('the command line', () => {
  test.each([
    ['an option that does not exist', ['run', '--privileged', 'image'], [64, "Error: Unknown option '--privileged'"]],
    [
      'one that came later',
      ['run', '--masked-path=NONE', 'image'],
      [64, "Error: Unknown option '--masked-path'"],
      '1.2.0',
    ],
    [
      'a value that looks like an option',
      ['run', '--kernel-arg', '-x', 'image'],
      [64, "Error: Missing value for '--kernel-arg <kernel-arg>'"],
    ],
    ['a missing image', ['run', '--detach'], [64, 'Error: Missing expected argument']],
    ['an unknown command', ['k8s', 'list'], [64, "Error: Plugin 'container-k8s' not found."]],
    ['an argument too many', ['start', 'a', 'b'], [64, "Error: Unexpected argument 'b'"]],
    ['an unknown short form', ['exec', '-x', 'node', 'true'], [64, "Error: Unknown option '-x'"]],
  ])('%s is refused', (_what, argv, answer, version = '1.2.2') => {
    expect(refused(argv as string[], version as string)).toEqual(answer);
  });

  test('what follows the image or the node is the guest’s, -- and options too', () => {
    expect(parse(['exec', '-i', 'node', '--', 'true'], '1.2.2').guest).toEqual(['--', 'true']);
    const call = parse(['run', '--name=a', 'image', '--cpus=2'], '1.2.2');
    expect([call.options.cpus, call.guest]).toEqual([undefined, ['--cpus=2']]);
  });

  test('a value is split off at the first =, lists grow, of the rest the last one wins', () => {
    const { options } = parse(['run', '--env=A=b=c', '--env', 'D=e', '--cpus=1', '--cpus=2', 'image'], '1.2.2');
    expect(options).toEqual({ env: ['A=b=c', 'D=e'], cpus: ['2'] });
  });
});

describeUnless(appleReference.missing, 'the tables of the command line', () => {
  const text = appleReference.missing ? '' : readFileSync(appleReference.text, 'utf8');

  test('have no option that the reference does not have', () => {
    const spoken = (option: string) =>
      new RegExp(option.length === 1 ? `(^|[^\\w-])-${option}\\b` : `--${option}\\b`, 'm').test(text);
    const mentioned = (command: string) => text.includes(command.split(' ').at(-1)!);
    const unknown = Object.entries(grammar).flatMap(([command, { options }]) => [
      ...(mentioned(command) ? [] : [command]),
      ...Object.keys(options)
        .filter((option) => !spoken(option))
        .map((option) => `${command} ${option}`),
    ]);
    expect(unknown).toEqual([]);
  });

  test('have none of those that the reference says do not exist', () => {
    const [, line = ''] = /These flags do not exist: `([^`]+)`/.exec(text) ?? [];
    const nowhere = line.split(' ').map((flag) => flag.slice(2));
    expect(nowhere.length).toBeGreaterThan(8);
    const every = new Set(['run', 'create'].flatMap((command) => Object.keys(grammar[command]!.options)));
    expect(nowhere.filter((flag) => every.has(flag))).toEqual([]);
  });

  test('answers look like upstream’s, byte for byte', () => {
    for (const [name, write] of [
      ['container-list.json', compact],
      ['container-inspect.json', pretty],
    ] as const) {
      const bytes = readFileSync(join(appleReference.fixtures, name), 'utf8');
      expect(write(JSON.parse(bytes))).toBe(bytes);
    }
  });
});

const member = (name: string, type = '0', link = '', xattrs: Record<string, string> = {}): TarMember => ({
  name,
  type,
  link,
  xattrs,
  size: 0,
  offset: 0,
});

describe('the rules of the ext4 unpacker', () => {
  test.each([
    ['below a symbolic link', [[member('lib', '2', 'usr/lib'), member('lib/x')]], 'lost without an error'],
    ['below one of a lower layer', [[member('lib', '2', 'usr/lib')], [member('lib/x')]], 'lost without an error'],
    [
      'a directory over a symbolic link',
      [[member('lib', '2', 'usr/lib')], [member('lib/', '5')]],
      'a directory over a symbolic link',
    ],
    ['a file over a directory', [[member('etc/', '5')], [member('etc')]], 'a file over a directory'],
    ['a directory over a file', [[member('etc')], [member('etc/', '5')]], 'a directory over a file'],
    ['a device', [[member('dev/console', '3')]], 'skipped without a word'],
    ['a FIFO', [[member('run/fifo', '6')]], 'skipped without a word'],
    ['a hard link to nothing', [[member('a', '1', 'b')]], 'which is not there'],
    ['hard links in a circle', [[member('a', '1', 'b'), member('b', '1', 'a')]], 'in a circle'],
    ['a replaced file with a hard link', [[member('a'), member('b', '1', 'a')], [member('a')]], 'that one is corrupt'],
    ['a whiteout behind its siblings', [[member('etc/a'), member('etc/.wh.b')]], 'which it removes'],
    ['a leading dot', [[member('./etc/a')]], 'not a canonical path'],
    ['a name too long', [[member(`etc/${'x'.repeat(256)}`)]], 'more than 255 bytes'],
    ['a name that depends on the locale', [[member('etc/ü')]], 'not ASCII'],
    ['attributes that do not fit', [[member('a', '0', '', { 'user.x': 'x'.repeat(5000) })]], 'extended attributes'],
  ])('%s is a problem', (_what, layers, words) => {
    expect(layerProblems(layers).join('\n')).toContain(words);
  });

  test('a sound image has none', () => {
    const base = [member('bin', '2', 'usr/bin'), member('usr/', '5'), member('usr/bin/', '5'), member('usr/bin/perl')];
    const more = [
      member('usr/', '5'),
      member('usr/bin/', '5'),
      member('usr/bin/kubelet'),
      member('usr/bin/k', '1', 'usr/bin/kubelet'),
    ];
    expect(layerProblems([[...base, member('usr/bin/perl5', '1', 'usr/bin/perl')], more])).toEqual([]);
  });
});
