/** Parsers of flag values; errors name the flag. */
import { KinaError } from '../../../host/errors.ts';
import { didYouMean } from '../../../host/suggest.ts';
import { type Compression, highestLevel } from '../../../oci/compress.ts';
import { hostPlatform, type Platform, parsePlatform } from '../../../oci/platform.ts';
import { parseReference } from '../../../oci/reference.ts';
import type { ImageOutput } from '../../../ops/build-image.ts';

/** `linux/arm64,linux/amd64`; the platform of this host when absent. */
export function platforms(value: string | undefined): Platform[] {
  if (value === undefined) return [hostPlatform()];
  const list = value
    .split(',')
    .filter((p) => p.trim() !== '')
    .map(parsePlatform);
  const unique = [...new Map(list.map((p) => [p.architecture, p])).values()];
  if (unique.length === 0) throw new KinaError('usage', '--platform is empty');
  return unique;
}

/** `--set key=value`, repeatable; a value may contain `=`. */
export function settings(values: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    values.map((value) => {
      const at = value.indexOf('=');
      if (at < 1) throw new KinaError('usage', `--set ${value}: expected key=value`);
      return [value.slice(0, at), value.slice(at + 1)];
    }),
  );
}

/** Checks a name like `localhost/kina/node:v1.34.2` before the work starts. */
export function imageName(value: string): string {
  if (parseReference(value).digest !== undefined)
    throw new KinaError('usage', `${value}: a name and a tag are expected; the digest is computed from the content`);
  return value;
}

/** `zstd`, `gzip`, `zstd:19`, `none`. */
export function compression(value: string | undefined): Compression | undefined {
  if (value === undefined || value === 'none') return undefined;
  const [kind, level] = value.split(':') as [string, string | undefined];
  if (kind !== 'zstd' && kind !== 'gzip')
    throw new KinaError(
      'usage',
      `--compression ${value}: unknown compression${didYouMean(kind, ['zstd', 'gzip', 'none'])}`,
      {
        hint: 'Use none, zstd or gzip, with an optional level: zstd:19.',
      },
    );
  if (level === undefined) return { kind };
  const highest = highestLevel[kind];
  if (!/^\d+$/.test(level) || Number(level) < 1 || Number(level) > highest)
    throw new KinaError('usage', `--compression ${value}: the level must be 1 to ${highest}`);
  return { kind, level: Number(level) };
}

export const OUTPUT_TYPES = ['oci', 'oci-archive', 'docker-archive'] as const;

/** `type=oci-archive,dest=FILE`; a bare path is an archive if it ends in .tar, else a layout directory. */
export function output(value: string): ImageOutput {
  const bareType = (OUTPUT_TYPES as readonly string[]).includes(value);
  if (!value || bareType)
    throw new KinaError('usage', `--output ${JSON.stringify(value)}: dest is missing`, {
      hint: `Use type=${bareType ? value : 'oci-archive'},dest=PATH.`,
    });
  if (!value.includes('='))
    return { type: value === '-' || value.endsWith('.tar') ? 'oci-archive' : 'oci', dest: value };
  const fields = new Map<string, string>();
  for (const part of value.split(',')) {
    const at = part.indexOf('=');
    const key = at < 0 ? part : part.slice(0, at);
    if (at < 0 || !['type', 'dest'].includes(key))
      throw new KinaError(
        'usage',
        `--output ${value}: unknown field ${JSON.stringify(key)}${didYouMean(key, ['type', 'dest'])}`,
        { hint: 'Use type=oci-archive,dest=node.tar, for example.' },
      );
    fields.set(key, part.slice(at + 1));
  }
  const type = fields.get('type') ?? 'oci';
  const dest = fields.get('dest');
  if (!(OUTPUT_TYPES as readonly string[]).includes(type))
    throw new KinaError('usage', `--output: unknown type ${JSON.stringify(type)}${didYouMean(type, OUTPUT_TYPES)}`, {
      hint: `Types: ${OUTPUT_TYPES.join(', ')}.`,
    });
  if (!dest)
    throw new KinaError('usage', `--output ${value}: dest is missing`, {
      hint: 'Add dest=PATH, or dest=- for standard output.',
    });
  if (dest === '-' && type === 'oci')
    throw new KinaError('usage', '--output type=oci is a directory and cannot be written to standard output', {
      hint: 'Use type=oci-archive,dest=-.',
    });
  return { type: type as ImageOutput['type'], dest };
}

/** stdout takes a single output: an archive or JSON. */
export function checkOutputs(outputs: readonly ImageOutput[], json: boolean): void {
  if (json && outputs.some(({ dest }) => dest === '-'))
    throw new KinaError('usage', '--json and an archive on standard output cannot be used together', {
      hint: 'Write the archive to a file.',
    });
}
