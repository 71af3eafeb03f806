/** Option sets and the steps from flags to a plan that `build node-image` and `lock` share. */
import type { Command } from 'commander';
import type { PrepareRequest } from '../build/prepare.ts';
import { KinaError } from '../host/errors.ts';
import type { Reporter } from '../host/progress.ts';
import { openToolbox, type Toolbox } from '../layers/toolbox.ts';
import { version } from './context.ts';
import { collect, platforms, settings } from './options.ts';

export interface SourceFlags {
  recipe: string;
  type?: string;
  platform?: string;
  arch?: string;
  set: string[];
  mirror: string[];
  debianMirror?: string;
  offline: boolean;
  strict: boolean;
}

/** The flags that decide what goes in. */
export function addSourceOptions(command: Command): Command {
  return command
    .option('--recipe <name|file>', 'shipped recipe or path of a recipe file', 'node')
    .option('--type <type>', 'what the source is: release, url, file, directory (default: by its form)')
    .option('--platform <list>', 'comma list of linux/arm64, linux/amd64 (default: this host)')
    .option('--arch <arch>', 'one platform, as kind names it: arm64 or amd64')
    .option('--set <key=value>', 'set a variable of the recipe (repeatable)', collect, [])
    .option('--mirror <url>', 'fetch https://HOST/PATH from URL/HOST/PATH (repeatable; also KINA_MIRROR)', collect, [])
    .option('--debian-mirror <url>', "base URL of Debian's archive (also KINA_DEBIAN_MIRROR)")
    .option('--offline', 'use only what the store holds', false)
    .option('--strict', 'an optional component that upstream lacks is an error', false);
}

export function prepareRequest(
  source: string | undefined,
  flags: SourceFlags,
  lock: string | undefined,
): PrepareRequest {
  if (flags.platform !== undefined && flags.arch !== undefined)
    throw new KinaError('usage', '--platform and --arch exclude each other');
  return {
    recipe: flags.recipe,
    source,
    sourceType: flags.type,
    platforms: platforms(flags.platform ?? flags.arch),
    set: settings(flags.set),
    lock,
    strict: flags.strict,
  };
}

export function toolboxFor(flags: SourceFlags, reporter: Reporter, signal: AbortSignal): Promise<Toolbox> {
  return openToolbox({
    reporter,
    signal,
    mirrors: flags.mirror,
    debianMirror: flags.debianMirror,
    offline: flags.offline,
    version,
  });
}
