import { describe, expect, test } from 'vitest';
import { compression, output, platforms, settings } from '../../../src/cli/handlers/shared/flag-values.ts';
import { bytes, table } from '../../../src/cli/terminal/format.ts';

describe('flag values', () => {
  test('platforms in any spelling, each once', () => {
    expect(platforms('linux/arm64,amd64,aarch64').map((p) => p.architecture)).toEqual(['arm64', 'amd64']);
    expect(() => platforms('linux/riscv64')).toThrow('unknown platform "linux/riscv64"');
    expect(() => platforms('windows/amd64')).toThrow('unknown platform');
    expect(() => platforms(',')).toThrow('--platform is empty');
  });
  test('--set keeps "=" in values', () => {
    expect(settings(['a=b=c', 'd='])).toEqual({ a: 'b=c', d: '' });
    expect(() => settings(['a'])).toThrow('expected key=value');
    expect(() => settings(['=a'])).toThrow('expected key=value');
  });
  test('compression', () => {
    expect(compression('none')).toBeUndefined();
    expect(compression('zstd:19')).toEqual({ kind: 'zstd', level: 19 });
    expect(() => compression('ztsd')).toThrow('did you mean "zstd"?');
    expect(() => compression('gzip:x')).toThrow('the level must be');
  });
  test('outputs', () => {
    expect(output('type=oci-archive,dest=a.tar')).toEqual({ type: 'oci-archive', dest: 'a.tar' });
    expect(output('node.tar')).toEqual({ type: 'oci-archive', dest: 'node.tar' });
    expect(output('layout')).toEqual({ type: 'oci', dest: 'layout' });
    expect(() => output('type=oci-archiv,dest=a')).toThrow('did you mean "oci-archive"?');
    expect(() => output('type=oci')).toThrow('dest is missing');
    // Neither a folder of that name nor, after an unset variable of a shell, the working directory.
    expect(() => output('oci-archive')).toThrow('dest is missing');
    expect(() => output('')).toThrow('dest is missing');
    expect(() => output('tpye=oci,dest=a')).toThrow('did you mean "type"?');
    expect(() => output('type=oci,dest=-')).toThrow('cannot be written to standard output');
  });
});

describe('formats', () => {
  test('sizes never show 1000 of the smaller unit', () => {
    expect([0, 816.755, 999, 1000, 9949, 9960, 999_400, 999_600, 1_234_567_890].map(bytes)).toEqual([
      '0 B',
      '817 B',
      '999 B',
      '1.0 kB',
      '9.9 kB',
      '10 kB',
      '999 kB',
      '1.0 MB',
      '1.2 GB',
    ]);
  });
  test('tables align and leave no white space at line ends', () => {
    expect(
      table(
        [
          ['a', '1', ''],
          ['bbb', '22', 'x'],
        ],
        [1],
      ),
    ).toBe('a     1\nbbb  22  x');
  });
});
