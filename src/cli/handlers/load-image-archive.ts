import { type LoadFlags, load } from './shared/load.ts';

export function run(flags: LoadFlags, archives: string[]): Promise<void> {
  return load(flags, { archives });
}
