/**
 * The user's config file, which lists mirrors. YAML, strict: unknown keys are errors. Flags and environment variables
 * override it; the caller applies that.
 *
 *     mirrors: [https://mirror.example.org/upstream]      # like --mirror: every https host is a folder there
 *     hosts: { registry.k8s.io: https://registry.example.org/k8s }
 *     debian: { mirror: http://…/debian, securityMirror: http://…/debian-security, checkValidUntil: false }
 */
import { readFile } from 'node:fs/promises';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { type Problem, problemsOf, Source } from './diagnose.ts';
import { isErrno, KinaError } from './errors.ts';

const base = z.string().refine((text) => URL.canParse(text) && /^(https?|file):$/.test(new URL(text).protocol), {
  error: 'not an http, https or file URL',
});
const schema = z.strictObject({
  mirrors: z.array(base).optional(),
  hosts: z.record(z.string().regex(/^[a-z0-9.-]+(:\d+)?$/i, 'not a host name'), base).optional(),
  debian: z
    .strictObject({ mirror: base.optional(), securityMirror: base.optional(), checkValidUntil: z.boolean().optional() })
    .optional(),
});
export type UserConfig = z.infer<typeof schema>;

/** A missing file gives an empty configuration. Throws `usage` with every problem, its line and column. */
export async function readUserConfig(path: string): Promise<UserConfig> {
  const text = await readFile(path, 'utf8').catch((error) => {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return '';
    throw new KinaError('usage', `cannot read the config file ${path}: ${(error as Error).message}`, {
      hint: 'Make it readable, or set KINA_CONFIG to a different file.',
      cause: error,
    });
  });
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, version: '1.2' });
  const source = new Source(path, document, lines);
  const at = (offset: number) => `${path}:${lines.linePos(offset).line}:${lines.linePos(offset).col}`;
  if (document.errors.length)
    throw invalid(
      path,
      document.errors.map((e) => `${at(e.pos[0])}: ${e.message.split('\n')[0]}`),
    );
  const parsed = schema.safeParse(document.toJS() ?? {});
  if (parsed.success) return parsed.data;
  const problems: Problem[] = problemsOf(parsed.error, schema);
  throw invalid(path, source.formatAll(problems));
}

function invalid(path: string, details: string[]): KinaError {
  return new KinaError('usage', `${path} is not a valid kina config file`, {
    details,
    hint: 'Valid keys are mirrors, hosts, debian.mirror, debian.securityMirror and debian.checkValidUntil. Correct or remove the file.',
  });
}
