/** The lock as a file: YAML with a fixed layout, blocks for steps, one line in flow style per artifact. */
import { readFile } from 'node:fs/promises';
import { parseDocument } from 'yaml';
import type { Artifact } from '../artifacts/artifact.ts';
import { isErrno, KinaError } from '../host/errors.ts';
import { atomicWrite } from '../host/files.ts';
import { type Lock, type LockedStep, lockFrom, notALock } from './lock.ts';

export async function readLock(path: string): Promise<Lock> {
  const text = await readFile(path, 'utf8').catch((error) => {
    if (isErrno(error, 'ENOENT'))
      throw new KinaError('lock', `no lock file ${path}`, {
        hint: 'Make one with `kina lock`, or name it with --lock FILE.',
        cause: error,
      });
    throw new KinaError('lock', `the lock ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  });
  return parseLock(text, path);
}

/** `from` names it in messages. Throws `lock`. */
export function parseLock(text: string, from: string): Lock {
  const document = parseDocument(text);
  if (document.errors.length === 0) return lockFrom(document.toJS(), from);
  throw notALock(
    from,
    document.errors.map((e) => e.message.split('\n')[0]!),
  );
}

export async function writeLock(path: string, lock: Lock): Promise<void> {
  await atomicWrite(path, formatLock(lock), 0o644);
}

export function formatLock(lock: Lock): string {
  const lines = [
    '# Pinned by `kina lock`. Commit this file; to change it, run `kina lock` again.',
    `version: ${lock.version}`,
    `recipe: ${scalar(lock.recipe)}`,
  ];
  if (lock.kubernetes) lines.push(`kubernetes: ${scalar(lock.kubernetes)}`);
  if (lock.source) lines.push(`source: ${lock.source}`);
  lines.push(`variables: ${flow(lock.variables)}`);
  if (lock.settings) {
    lines.push('settings:');
    for (const [platform, digest] of sorted(lock.settings)) lines.push(`  ${scalar(platform)}: ${digest}`);
  }
  lines.push('platforms:');
  for (const [platform, steps] of sorted(lock.platforms)) {
    lines.push(`  ${scalar(platform)}:`);
    for (const [id, step] of Object.entries(steps))
      lines.push(`    ${scalar(id)}:`, ...stepLines(step).map((line) => `      ${line}`));
  }
  return `${lines.join('\n')}\n`;
}

function stepLines({ step, components, inputs, notes, absent, artifacts, images, base }: LockedStep): string[] {
  const lines = [`step: ${step}`];
  if (components) lines.push(`components: ${flow(components)}`);
  for (const [part, values] of Object.entries({ inputs, notes }))
    if (values) lines.push(`${part}:`, ...sorted(values).map(([name, value]) => `  ${scalar(name)}: ${scalar(value)}`));
  if (absent) lines.push(`absent: [${absent.map(scalar).join(', ')}]`);
  if (artifacts)
    lines.push(
      'artifacts:',
      ...[...artifacts]
        .sort((x, y) => (x.name < y.name ? -1 : x.name > y.name ? 1 : x.url < y.url ? -1 : 1))
        .map((artifact) => `  - ${artifactLine(artifact)}`),
    );
  if (images) lines.push('images:');
  for (const { name, manifest, config, layers } of images ?? [])
    lines.push(
      `  - name: ${scalar(name)}`,
      `    manifest: ${artifactLine(manifest)}`,
      `    config: ${artifactLine(config)}`,
      '    layers:',
      ...layers.map((layer) => `      - ${artifactLine(layer)}`),
    );
  if (base)
    lines.push(
      'base:',
      `  name: ${scalar(base.name)}`,
      `  manifest: ${base.manifest}`,
      '  layers:',
      ...base.layers.map((layer) => `    - ${artifactLine(layer)}`),
    );
  return lines;
}

function artifactLine({ type, name, version, url, size, digest, verifiedBy, fallbacks }: Artifact): string {
  return flow({ type, name, version, url, size, digest, verifiedBy, fallbacks });
}

function sorted<T>(record: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
}

function flow(record: Readonly<Record<string, unknown>>): string {
  const parts = Object.entries(record).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}: ${flowValue(value)}`],
  );
  return parts.length ? `{ ${parts.join(', ')} }` : '{}';
}

function flowValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => scalar(String(item))).join(', ')}]`;
  return typeof value === 'number' ? String(value) : scalar(String(value));
}

/** Plain where YAML reads the same string back in flow and block context, else in double quotes. */
function scalar(value: string): string {
  return /^[A-Za-z/][A-Za-z0-9_./:+~@=-]*$/.test(value) &&
    !value.endsWith(':') &&
    !/^(true|false|null|yes|no|on|off|y|n)$/i.test(value)
    ? value
    : JSON.stringify(value);
}
