import { diffImages } from '../../layers/image/diff.ts';
import { choosePlatforms, openImage } from '../../oci/image/select.ts';
import { answer, answerJson, withSignal } from '../terminal/context.ts';
import { diffText } from '../terminal/image-text.ts';
import { platforms } from './shared/flag-values.ts';
import { openStore } from './shared/store.ts';

interface DiffFlags {
  readonly platform: string | undefined;
  readonly files: boolean;
  readonly exitCode: boolean;
  readonly json: boolean;
}

export async function run(flags: DiffFlags, a: string, b: string): Promise<void> {
  const store = await openStore();
  const wanted = flags.platform === undefined ? undefined : platforms(flags.platform);
  const left = choosePlatforms(a, await openImage(store, a), wanted);
  const right = choosePlatforms(b, await openImage(store, b), wanted);
  const diff = await withSignal((signal) => diffImages(store, left, right, { signal }));
  if (flags.exitCode && !diff.identical) process.exitCode = 1;
  return flags.json ? answerJson(diff) : answer(diffText(a, b, diff, flags.files));
}
