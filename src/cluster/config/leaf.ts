/** Schemas of single values, as kind's YAML library decodes them: YAML 1.1 booleans, an empty string for a default. */
import { z } from 'zod';

const booleans: Readonly<Record<string, boolean>> = { yes: true, y: true, on: true, no: false, n: false, off: false };

export const flag = z.preprocess(
  (value) => (typeof value === 'string' ? (booleans[value.toLowerCase()] ?? value) : value),
  z.boolean('expected true or false'),
);

export const number = z.number('expected a number');

export const text = z.string('expected a string');

/** An empty string means undefined, as in Go. */
export function orNothing<T extends z.ZodType>(schema: T) {
  return z.preprocess((value) => (value === '' ? undefined : value), schema.optional());
}

/** One of some words, or undefined. */
export function choice<const T extends readonly [string, ...string[]]>(...words: T) {
  return orNothing(z.enum(words));
}

const units: Readonly<Record<string, number>> = { m: 1, mi: 1, mib: 1, g: 1024, gi: 1024, gib: 1024 };
const sizePattern = /^(\d+(?:\.\d+)?) ?([a-z]+)$/i;

/** `4Gi`, `4GiB` or `4096Mi`, as MiB. A number without a unit is refused: in Kubernetes it would be bytes. */
export const size = text
  .refine((value) => units[sizePattern.exec(value)?.[2]?.toLowerCase() ?? ''], 'expected a size such as 4Gi or 2048Mi')
  .transform((value) => {
    const [, count, unit] = sizePattern.exec(value)!;
    return Math.round(Number(count) * units[unit!.toLowerCase()]!);
  })
  .refine((mebibytes) => mebibytes > 0, 'expected a size above 0');
