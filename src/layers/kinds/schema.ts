/** Pieces that the schemas of several step kinds share. */
import { z } from 'zod';

/** Octal permissions in quotes: "0644", "4755". A number is an error, because YAML 1.2 reads 0644 as 644. */
export const modeSchema = z
  .string({ error: 'expected permissions in quotes, such as "0644"' })
  .regex(/^[0-7]{3,4}$/, 'expected octal permissions in quotes, such as "0644"');

export function parseMode(mode: string | undefined, otherwise: number): number {
  return mode === undefined ? otherwise : Number.parseInt(mode, 8);
}

/** A path in the image, relative to the root. A leading slash is dropped. */
export const imagePath = z
  .string()
  .transform((p) => p.replace(/^\/+/, '').replace(/\/+$/, ''))
  .refine((p) => !p.split('/').some((s) => s === '..' || s === '.'), 'a path in the image may not contain "." or ".."');

export const nonEmptyPath = imagePath.refine((p) => p !== '', 'the root of the image is not a file');

export const idSchema = z
  .int()
  .min(0)
  .max(2 ** 32 - 2);
export const sha256Schema = z.string().regex(/^(sha256:)?[0-9a-f]{64}$/, 'expected a SHA-256 in lower-case hex');

/** Where a download's SHA-256 comes from. */
export const checksumSchema = z
  .strictObject({ url: z.string().optional(), sha256: sha256Schema.optional() })
  .refine((c) => (c.url === undefined) !== (c.sha256 === undefined), 'give either url or sha256');
