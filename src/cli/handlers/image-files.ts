import { KinaError } from '../../host/errors.ts';
import { findFiles } from '../../layers/image/files.ts';
import { choosePlatforms, openImage } from '../../oci/image/select.ts';
import { answer, answerJson, withSignal } from '../terminal/context.ts';
import { filesText } from '../terminal/image-text.ts';
import { platforms } from './shared/flag-values.ts';
import { openStore } from './shared/store.ts';

interface PlatformFlags {
  readonly platform: string | undefined;
  readonly json: boolean;
}

export async function run(flags: PlatformFlags, ref: string, path: string | undefined): Promise<void> {
  const store = await openStore();
  const contents = await openImage(store, ref);
  const wanted = flags.platform !== undefined || contents.platforms.length > 1 ? platforms(flags.platform) : undefined;
  const [image, ...others] = choosePlatforms(ref, contents, wanted);
  if (!image || others.length) throw new KinaError('usage', `--platform ${flags.platform}: expected a single platform`);
  const files = await withSignal((signal) => findFiles(store, image, path, { signal }));
  return flags.json ? answerJson(files) : answer(filesText(files));
}
