/** Flags as commander hands them over, and the options that `build node-image` and `lock` share. */
import { type Command, Option } from 'commander';
import type { GlobalFlags } from '../terminal/context.ts';
import { collect } from './options.ts';
import type { SigningFlags } from './signing.ts';

export interface MirrorFlags {
  mirror: string[];
  debianMirror?: string;
  debianSecurityMirror?: string;
  offline: boolean;
}

export interface SourceFlags extends MirrorFlags {
  recipe?: string;
  type?: string;
  platform?: string;
  arch?: string;
  set: string[];
  strict: boolean;
  insecureRegistry: string[];
}

export interface BuildFlags extends SourceFlags, GlobalFlags, SigningFlags {
  output: string[];
  report?: string;
  tag: string[];
  image?: string;
  compression?: string;
  lock?: string;
  locked: boolean;
  cache: boolean;
  dryRun: boolean;
  push: boolean;
  metadataFile?: string;
  sbom: boolean;
  provenance: boolean;
  cacheFrom: string[];
  cacheTo: string[];
  json: boolean;
}

export interface ClusterFlags extends GlobalFlags {
  name?: string;
  provider?: string;
  kubeconfig?: string;
  json?: boolean;
  all?: boolean;
  allClusters?: boolean;
  internal?: boolean;
  nodes?: string;
  wait: string;
}

export interface CreateFlags extends ClusterFlags, MirrorFlags {
  config?: string;
  image?: string;
  build?: string;
  kernel?: string;
  rosetta?: true;
  retain: boolean;
  dryRun: boolean;
  allowEvenControlPlanes: boolean;
}

export function mirrorOption(): Option {
  return new Option('--mirror <url>', 'fetch https://HOST/PATH from URL/HOST/PATH (repeatable; also KINA_MIRROR)')
    .argParser(collect)
    .default([]);
}

/** Where things are fetched from. */
export function addMirrorOptions(command: Command): Command {
  return command
    .addOption(mirrorOption())
    .option('--debian-mirror <url>', "base URL of Debian's archive (also KINA_DEBIAN_MIRROR)")
    .option('--debian-security-mirror <url>', 'the same for its security updates (also KINA_DEBIAN_SECURITY_MIRROR)')
    .option('--offline', 'use only what the store holds', false);
}

/** The flags that decide what goes in. */
export function addSourceOptions(command: Command): Command {
  return addMirrorOptions(
    command
      .option('--recipe <name|file>', 'shipped recipe or path of a recipe file (default: that of the lock, else node)')
      .option('--type <type>', 'what the source is: release, ci, url, file, directory, source (default: by its form)')
      .option('--platform <list>', 'comma list of linux/arm64, linux/amd64 (default: this host)')
      .option('--arch <arch>', 'one platform, as kind names it: arm64 or amd64')
      .option('--set <key=value>', 'set a variable of the recipe (repeatable)', collect, []),
  )
    .addOption(insecureOption())
    .option('--strict', 'an optional component that upstream lacks is an error', false);
}

/** Plain HTTP is a thing to ask for; this machine itself needs no asking. */
export function insecureOption(): Option {
  return new Option('--insecure-registry <host[:port]>', 'a registry that speaks plain HTTP (repeatable)')
    .argParser(collect)
    .default([]);
}
