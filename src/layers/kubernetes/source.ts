/**
 * Where Kubernetes comes from: a release or a CI build (per-file downloads with a digest file beside each), a server
 * tarball (URL or file), a folder of binaries, or a source tree (`source-tree.ts`). A source pins artifacts; which member
 * of which artifact a step needs is decided by `members.ts`, so a locked build does not need the source.
 *
 * Layout of releases: `https://dl.k8s.io/VERSION/bin/linux/ARCH/NAME{,.sha256}`, images as `NAME.tar`
 * (docker save format); server tarball: `kubernetes/server/bin/NAME{,.tar,.docker_tag}`, `kubernetes/version`. CI builds
 * are below `ci/` in the same layout. Markers are small texts that name a version: `release/stable-1.34.txt`,
 * `release/latest.txt` (pre-releases too), `ci/latest.txt` (kubernetes/community, "Kubernetes Version Markers").
 */
import { createReadStream } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import semver from 'semver';
import type { Artifact } from '../../artifacts/artifact.ts';
import { resolveArtifact } from '../../artifacts/checksums.ts';
import { KinaError } from '../../host/errors.ts';
import { digestOf } from '../../host/json.ts';
import { didYouMean } from '../../host/suggest.ts';
import type { Architecture } from '../../oci/platform.ts';
import { readAll } from '../../tree/entry.ts';
import { fullVersion, importLocal, isKind } from './local-file.ts';
import {
  type KubernetesSource,
  memberName,
  SERVER_TARBALL,
  SOURCE_TYPES,
  type SourceContext,
  type SourceType,
} from './model.ts';

const RELEASES = 'https://dl.k8s.io';

/** Opens a source. `type` forces its kind. */
export async function openKubernetesSource(
  argument: string,
  type: string | undefined,
  context: SourceContext,
): Promise<KubernetesSource> {
  const chosen = type ?? (await detectType(argument));
  if (!(SOURCE_TYPES as readonly string[]).includes(chosen))
    throw new KinaError('usage', `unknown source type ${JSON.stringify(chosen)}${didYouMean(chosen, SOURCE_TYPES)}`, {
      hint: `Use one of: ${SOURCE_TYPES.join(', ')}.`,
    });
  switch (chosen as SourceType) {
    case 'release':
      return release(argument, context);
    case 'ci':
      return ciBuild(argument, context);
    case 'url':
      if (!/^https?:\/\//.test(argument))
        throw new KinaError('usage', `--type url needs an http(s) address, not ${JSON.stringify(argument)}`);
      return tarball('url', argument, context);
    case 'file':
      if (!(await isKind(argument, 'file')))
        throw new KinaError('usage', `${argument} is not a file`, {
          hint: 'Give the path of a kubernetes-server-linux-ARCH.tar.gz.',
        });
      return tarball('file', argument, context);
    case 'directory':
      if (!(await isKind(argument, 'directory')))
        throw new KinaError('usage', `${argument} is not a folder`, {
          hint: 'Give a folder that holds kubeadm, kubelet and kubectl.',
        });
      return folder(argument, context);
    case 'source':
      return (await sourceTrees()).openSourceTree(argument, context);
  }
}

/** Loaded on demand: compiling takes much code. */
const sourceTrees = () => import('./source-tree.ts');

async function detectType(argument: string): Promise<SourceType> {
  if (/^https?:\/\//.test(argument)) return 'url';
  // Before files: a file in the working directory must not change the meaning of a version (`./v1.34.2` is a file).
  if (argument.startsWith('ci/')) return 'ci';
  if (releaseMarker.test(argument) || /^v?\d+(\.\d+){1,2}([-+].*)?$/.test(argument)) return 'release';
  if (await isKind(argument, 'file')) return 'file';
  if (await isKind(argument, 'directory')) {
    const { isSourceTree } = await sourceTrees();
    return (await isSourceTree(argument)) ? 'source' : 'directory';
  }
  throw new KinaError('usage', `${JSON.stringify(argument)} is not a Kubernetes version, a URL, a file or a folder`, {
    hint: 'Examples: v1.34.2, 1.34, stable, latest, ci/latest, https://…/kubernetes-server-linux-arm64.tar.gz, ./bin, ./kubernetes.',
  });
}

/** `stable`, `stable-1.34`, `latest`, `latest-1.35`: names of upstream's marker files. */
const releaseMarker = /^(stable|latest)(-\d+(\.\d+)?)?$/;

/** Reads the version marker behind `stable` or `1.34`; full versions pass through. */
async function releaseVersion(argument: string, context: SourceContext): Promise<string> {
  const line = /^v?(\d+\.\d+)$/.exec(argument)?.[1];
  const marker = line ? `stable-${line}` : argument;
  if (!releaseMarker.test(marker)) return fullVersion(argument, 'version');
  return readMarker(`${RELEASES}/release/${marker}.txt`, context);
}

async function readMarker(url: string, context: SourceContext): Promise<string> {
  try {
    return fullVersion(await context.transport.text(url, { limit: 4096 }), url);
  } catch (error) {
    if (!(error instanceof KinaError) || error.code !== 'not-found') throw error;
    throw new KinaError('not-found', `upstream has no version marker ${url}`, {
      cause: error,
      details: [error.message],
      hint: 'Markers: stable, stable-1.34, latest, latest-1.34; of CI builds ci/latest, ci/latest-1.34.',
    });
  }
}

async function release(argument: string, context: SourceContext): Promise<KubernetesSource> {
  const version = await releaseVersion(argument, context);
  return downloads('release', argument, version, RELEASES, context);
}

/** `ci/latest`, `ci/latest-1.35`, or one build: `ci/v1.35.0-alpha.0.391+575c4925be8c39`. */
async function ciBuild(argument: string, context: SourceContext): Promise<KubernetesSource> {
  const wanted = argument.replace(/^ci\//, '');
  if (!/^[\w.+-]+$/.test(wanted))
    throw new KinaError('usage', `${JSON.stringify(argument)} is neither a marker nor a version of a CI build`, {
      hint: 'Examples: ci/latest, ci/latest-1.35, ci/v1.35.0-alpha.0.391+575c4925be8c39.',
    });
  const version = /^v?\d/.test(wanted)
    ? fullVersion(wanted, 'version')
    : await readMarker(`${RELEASES}/ci/${wanted}.txt`, context);
  return downloads('ci', argument, version, `${RELEASES}/ci`, context);
}

/** Single files below `BASE/VERSION`, as releases and CI builds have them. */
function downloads(
  type: SourceType,
  origin: string,
  version: string,
  base: string,
  context: SourceContext,
): KubernetesSource {
  return {
    type,
    version,
    origin,
    pin: (members, architecture) =>
      Promise.all(
        members.map((member) => {
          const name = memberName(member);
          const format = member.form === 'image' ? 'archive' : 'binary';
          const url = `${base}/${version}/bin/linux/${architecture}/${name}`;
          return resolveArtifact(
            { type: format, name, version, url, checksum: { url: `${url}.sha256` } },
            context.checksums,
          ).catch((error) => {
            if (!(error instanceof KinaError) || error.code !== 'not-found') throw error;
            throw new KinaError('not-found', `Kubernetes ${version} has no ${name} for linux/${architecture}`, {
              cause: error,
              details: [error.message],
              hint: missingHint(type, version),
            });
          });
        }),
      ),
  };
}

function missingHint(type: SourceType, version: string): string {
  if (type === 'ci')
    return 'CI builds are kept for some weeks, and fast builds exist for linux/amd64 only. Try ci/latest.';
  const newest = `${RELEASES}/release/stable-${semver.major(version)}.${semver.minor(version)}.txt`;
  const ci = version.includes('+') ? ` A version with a + is a CI build: ci/${version}.` : '';
  return `Check the version; ${newest} names the newest of its line.${ci}`;
}

/** The file for an architecture: `…linux-amd64…` becomes `…linux-arm64…`. */
function forArchitecture(location: string, architecture: Architecture, context: SourceContext): string {
  const named = /linux-(amd64|arm64)/.exec(location)?.[1];
  if (named === undefined || named === architecture) return location;
  const sibling = location.replace(`linux-${named}`, `linux-${architecture}`);
  if (sibling === location)
    throw new KinaError(
      'platform',
      `${location} is for linux/${named}, but linux/${architecture} was asked for (${context.architectures.join(', ')})`,
    );
  return sibling;
}

async function tarball(type: 'url' | 'file', location: string, context: SourceContext): Promise<KubernetesSource> {
  const inPath = /(?:^|\/)(v\d+\.\d+\.\d+[^/]*)\//.exec(location)?.[1];
  const pinOne = async (architecture: Architecture): Promise<Artifact> => {
    const place = forArchitecture(location, architecture, context);
    if (type === 'file') {
      if (place !== location && !(await isKind(place, 'file')))
        throw new KinaError('platform', `${location} is not for linux/${architecture}, and ${place} does not exist`, {
          hint: 'Put the tarball of the other architecture beside it, or build for one --platform.',
        });
      return importLocal(place, SERVER_TARBALL, undefined, context.store);
    }
    return resolveArtifact(
      { type: 'archive', name: SERVER_TARBALL, url: place, checksum: { url: `${place}.sha256` } },
      context.checksums,
    );
  };
  const declared = context.declaredVersion ?? (type === 'url' ? inPath : undefined);
  const version = declared
    ? fullVersion(declared, context.declaredVersion ? '--set kubernetes' : location)
    : type === 'file'
      ? await versionInside(location, await pinOne(context.architectures[0] ?? 'arm64'), context)
      : undefined;
  if (version === undefined)
    throw new KinaError('usage', `${location} does not state its Kubernetes version`, {
      hint: 'Add `--set kubernetes=vX.Y.Z`.',
    });
  return {
    type,
    version,
    origin: type === 'file' ? basename(location) : location,
    pin: async (_members, architecture) => [await pinOne(architecture)],
  };
}

/** `kubernetes/version` exists since 1.31; older tarballs have an image tag file beside the API server. */
async function versionInside(path: string, artifact: Artifact, context: SourceContext): Promise<string> {
  const wanted = ['kubernetes/version', 'kubernetes/server/bin/kube-apiserver.docker_tag'];
  const entries = await context.unpacker.unpack(digestOf([artifact.digest, wanted]).slice(7), {
    owner: path,
    file: context.store.blobPath(artifact.digest),
    select: (p) => wanted.includes(p),
  });
  for (const name of wanted) {
    const found = entries.find((e) => e.path === name);
    if (found?.type === 'file')
      return fullVersion((await readAll(found.content, 4096)).toString('utf8').replace(/_/g, '+'), `${path}: ${name}`);
  }
  throw new KinaError('archive', `${path} is not a Kubernetes server tarball: it has neither ${wanted.join(' nor ')}`, {
    hint: 'Give kubernetes-server-linux-ARCH.tar.gz; client and node tarballs are not enough.',
  });
}

async function folder(path: string, context: SourceContext): Promise<KubernetesSource> {
  const find = async (member: string, architecture: Architecture): Promise<string> => {
    const places = [
      join(path, 'linux', architecture, member),
      join(path, architecture, member),
      join(path, 'server', 'bin', member),
      join(path, member),
    ];
    for (const place of places) if (await isKind(place, 'file')) return place;
    throw new KinaError('not-found', `${path} has no ${member} for linux/${architecture}`, {
      details: places.map((p) => `looked for ${p}`),
    });
  };
  const declared = context.declaredVersion ?? (await readVersionFile(path, context));
  if (declared === undefined)
    throw new KinaError('usage', `the folder ${path} does not state its Kubernetes version`, {
      hint: 'Add `--set kubernetes=vX.Y.Z`, or a file named `version` in it.',
    });
  const version = fullVersion(declared, path);
  return {
    type: 'directory',
    version,
    origin: basename(resolve(path)),
    pin: (members, architecture) =>
      Promise.all(
        members
          .map(memberName)
          .map(async (name) => importLocal(await find(name, architecture), name, version, context.store)),
      ),
  };
}

async function readVersionFile(path: string, context: SourceContext): Promise<string | undefined> {
  for (const name of [
    'version',
    'kube-apiserver.docker_tag',
    ...context.architectures.flatMap((a) => [`${a}/kube-apiserver.docker_tag`, `linux/${a}/kube-apiserver.docker_tag`]),
  ]) {
    const place = join(path, name);
    if (await isKind(place, 'file')) {
      const parts: Buffer[] = [];
      for await (const chunk of createReadStream(place, { end: 255 })) parts.push(chunk as Buffer);
      return Buffer.concat(parts).toString('utf8').trim().replace(/_/g, '+');
    }
  }
  return undefined;
}
