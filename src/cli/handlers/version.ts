import { answer, type GlobalFlags, version } from '../terminal/context.ts';

export function run({ quiet }: GlobalFlags): void {
  answer(quiet ? version : `kina v${version} node${process.versions.node} ${process.platform}/${process.arch}`);
}
