/**
 * Kubernetes from its own source: a checkout, or what a release's source archive unpacks to. `compile.ts` makes the
 * binaries; images of the control plane are those of `make quick-release-images` where they are there and of this version,
 * else made of the binaries here (`own-image.ts`).
 *
 * Pins need digests, and only compiling gives them: so planning compiles, `--dry-run` and `kina lock` too. `make` itself
 * decides what is still good. A build from the lock does not compile: what was compiled is in the store.
 */

import { readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { Environment } from '../../host/environment.ts';
import { KinaError } from '../../host/errors.ts';
import { openArchive } from '../../oci/archive/open.ts';
import type { Architecture } from '../../oci/platform.ts';
import { compilerOf, readStamp } from './compile.ts';
import { fullVersion, importLocal, isKind } from './local-file.ts';
import { type KubernetesSource, memberName, type SourceContext } from './model.ts';
import { type BaseLayer, binaryImage, fetchBase } from './own-image.ts';

/** Whether a folder holds the source of Kubernetes, rather than binaries. */
export async function isSourceTree(path: string): Promise<boolean> {
  if (!(await isKind(join(path, 'cmd', 'kubeadm'), 'directory'))) return false;
  if (!(await isKind(join(path, 'Makefile'), 'file'))) return false;
  return /^module k8s\.io\/kubernetes$/m.test(await readFile(join(path, 'go.mod'), 'utf8').catch(() => ''));
}

/** Throws `usage` for what is no source tree, or one that does not say its version. Compiles nothing yet. */
export async function openSourceTree(path: string, context: SourceContext): Promise<KubernetesSource> {
  if (!(await isSourceTree(path)))
    throw new KinaError('usage', `${path} is not a source tree of Kubernetes`, {
      hint: 'It needs cmd/kubeadm, a Makefile, and a go.mod of the module k8s.io/kubernetes. For a folder of binaries use --type directory.',
    });
  const tree = resolve(path);
  const stamp = await readStamp(tree, context);
  const said = context.declaredVersion ?? stamp.gitVersion;
  if (said === undefined)
    throw new KinaError('usage', `the source tree ${path} does not say its Kubernetes version`, {
      hint: 'Add `--set kubernetes=vX.Y.Z`; in a clone without tags, `git fetch --tags` brings them.',
    });
  const version = fullVersion(said, context.declaredVersion === undefined ? path : '--set kubernetes');
  const compile = compilerOf(tree, version, stamp, context);

  /** The release's image archive, when the tree has made one for this version. */
  const releaseImage = async (name: string, architecture: Architecture): Promise<string | undefined> => {
    const place = join(tree, '_output/release-images', architecture, `${name}.tar`);
    if (!(await isKind(place, 'file'))) return undefined;
    const names = (await openArchive(context.store, place)).flatMap((image) => image.names);
    if (names.some((n) => n.endsWith(`:${tagOf(version)}`))) {
      context.reporter.info(`${name} (linux/${architecture}): the image in ${place}`);
      return place;
    }
    context.reporter.warn(`${place} is left aside: it holds ${names.join(', ')}, this is ${version}`);
    return undefined;
  };

  /** Kube-proxy alone has a base; asked for before anything is compiled, because it may not be there. */
  const baseOf = async (name: string, architecture: Architecture): Promise<BaseLayer[]> => {
    if (name !== 'kube-proxy') return [];
    try {
      return await fetchBase(await proxyBase(tree, context.environment), architecture, context);
    } catch (error) {
      if (!(error instanceof KinaError)) throw error;
      throw new KinaError(error.code, `no base for the image of kube-proxy: ${error.message}`, {
        details: error.details,
        hint: 'It needs iptables. Name a base in KUBE_PROXY_BASE_IMAGE, or run `make quick-release-images` in the source tree, which needs docker.',
        cause: error,
      });
    }
  };

  return {
    type: 'source',
    version,
    origin: basename(tree),
    async pin(members, architecture) {
      const looked = Promise.all(
        members.map(async (member) => {
          const { component: name, form } = member;
          if (!(await isKind(join(tree, 'cmd', name), 'directory')))
            throw new KinaError('not-found', `the source tree ${path} has no cmd/${name}`);
          const ready = form === 'program' ? undefined : await releaseImage(name, architecture);
          const base = form === 'program' || ready !== undefined ? [] : await baseOf(name, architecture);
          return { member, name, ready, base };
        }),
      );
      const names = looked.then((all) => all.filter((w) => w.ready === undefined).map((w) => w.name));
      const places = await compile(names, architecture);
      const binaries = new Map((await names).map((name, i) => [name, places[i] as string]));
      return Promise.all(
        (await looked).map(async ({ member, name, ready, base }) => {
          if (ready !== undefined) return importLocal(ready, memberName(member), version, context.store);
          const binary = await importLocal(binaries.get(name) as string, name, version, context.store);
          if (member.form === 'program') return binary;
          const reference = `${await context.imageRepository(version)}/${name}:${tagOf(version)}`;
          return binaryImage({ name, binary, reference, base, architecture }, context.store);
        }),
      );
    },
  };
}

/** As upstream's scripts do: a tag cannot hold the `+` of a version between releases. */
function tagOf(version: string): string {
  return version.replaceAll('+', '_');
}

/** What kube-proxy's image stands on: upstream's own variables, else the version in its build/common.sh. */
async function proxyBase(tree: string, environment: Environment): Promise<string> {
  if (environment.KUBE_PROXY_BASE_IMAGE) return environment.KUBE_PROXY_BASE_IMAGE;
  const script = join(tree, 'build/common.sh');
  const text = await readFile(script, 'utf8').catch(() => '');
  // distroless-iptables since 1.25, debian-iptables before.
  const found = /\b(?:__default_)?(distroless|debian)_iptables_version=([\w.-]+)/.exec(text);
  if (!found) throw new KinaError('not-found', `${script} names no version of distroless-iptables or debian-iptables`);
  // k8s.gcr.io, which old trees name, takes no new images since 2023, and registry.k8s.io has all the old ones.
  const registry = environment.KUBE_BASE_IMAGE_REGISTRY || 'registry.k8s.io/build-image';
  return `${registry}/${found[1]}-iptables:${found[2]}`;
}
