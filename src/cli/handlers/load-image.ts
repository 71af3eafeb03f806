import { type LoadFlags, load } from './shared/load.ts';

export function run(flags: LoadFlags, images: string[]): Promise<void> {
  return load(flags, { images });
}
