import { version } from '../../session/version.ts';
import { answer, type GlobalFlags } from '../terminal/context.ts';

export function run({ quiet }: GlobalFlags): void {
  answer(quiet ? version : `kina v${version} node${process.versions.node} ${process.platform}/${process.arch}`);
}
