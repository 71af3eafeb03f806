import { imageHistory } from '../../oci/image/history.ts';
import { choosePlatforms, nameOf, openImage } from '../../oci/image/select.ts';
import { answer, answerJson } from '../terminal/context.ts';
import { bytes, table } from '../terminal/format.ts';
import { platforms } from './shared/flag-values.ts';
import { openStore } from './shared/store.ts';

interface PlatformFlags {
  readonly platform: string | undefined;
  readonly json: boolean;
}

export async function run(flags: PlatformFlags, ref: string): Promise<void> {
  const contents = await openImage(await openStore(), ref);
  const chosen = choosePlatforms(ref, contents, flags.platform === undefined ? undefined : platforms(flags.platform));
  const histories = chosen.map((image) => ({ platform: nameOf(image), history: imageHistory(image) }));
  if (flags.json) return answerJson(histories);
  answer(
    histories
      .map(({ platform, history }) =>
        [
          platform,
          table(
            [
              ['LAYER', 'DIFF ID', 'SIZE', 'CREATED', 'MADE BY'],
              ...history.map(({ layer, created, createdBy, comment }) => [
                layer?.name ?? '-',
                layer?.diffId.slice(0, 19) ?? '',
                layer ? bytes(layer.descriptor.size) : '',
                created ?? '',
                (layer?.steps.length ? comment : createdBy) ?? '',
              ]),
            ],
            [2],
          ),
        ].join('\n'),
      )
      .join('\n\n'),
  );
}
