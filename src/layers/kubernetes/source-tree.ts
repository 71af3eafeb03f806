/**
 * Kubernetes from its source: a checkout, or an unpacked source archive of a release. `compile.ts` makes the binaries. Images
 * of the control plane come from `make quick-release-images` if they exist for this version; otherwise they are made of the
 * binaries (`own-image.ts`).
 *
 * Pins need digests, and only compiling gives them, so planning compiles, also for `--dry-run` and `kina lock`. `make` decides
 * what is up to date. A build from the lock does not compile: the binaries are in the store.
 */

import { readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { Artifact } from '../../artifacts/artifact.ts';
import type { Environment } from '../../host/environment.ts';
import { KinaError } from '../../host/errors.ts';
import { openArchive } from '../../oci/archive/open.ts';
import type { Architecture } from '../../oci/platform.ts';
import { type Compile, compilerOf, readStamp } from './compile.ts';
import { fullVersion, importLocal, isKind } from './local-file.ts';
import { type KubernetesSource, memberName, type ReleaseMember, type SourceContext } from './model.ts';
import { type BaseLayer, binaryImage, fetchBase } from './own-image.ts';

/** Whether a folder holds the source of Kubernetes, rather than binaries. */
export async function isSourceTree(path: string): Promise<boolean> {
  if (!(await isKind(join(path, 'cmd', 'kubeadm'), 'directory'))) return false;
  if (!(await isKind(join(path, 'Makefile'), 'file'))) return false;
  return /^module k8s\.io\/kubernetes$/m.test(await readFile(join(path, 'go.mod'), 'utf8').catch(() => ''));
}

/** Throws `usage` when `path` is not a source tree, or does not state its version. Compiles nothing yet. */
export async function openSourceTree(path: string, context: SourceContext): Promise<KubernetesSource> {
  if (!(await isSourceTree(path)))
    throw new KinaError('usage', `${path} is not a source tree of Kubernetes`, {
      hint: 'It needs cmd/kubeadm, a Makefile, and a go.mod of the module k8s.io/kubernetes. For a folder of binaries use --type directory.',
    });
  const folder = resolve(path);
  const stamp = await readStamp(folder, context);
  const stated = context.declaredVersion ?? stamp.gitVersion;
  if (stated === undefined)
    throw new KinaError('usage', `the source tree ${path} does not state its Kubernetes version`, {
      hint: 'Add `--set kubernetes=vX.Y.Z`. In a clone without tags, run `git fetch --tags`.',
    });
  const version = fullVersion(stated, context.declaredVersion === undefined ? path : '--set kubernetes');
  return new SourceTree(folder, version, compilerOf(folder, version, stamp, context), context);
}

/** What is found about a member before anything is compiled. */
interface Wanted {
  readonly member: ReleaseMember;
  /** The release's image archive, if the tree has one for this version. */
  readonly archive: string | undefined;
  readonly base: readonly BaseLayer[];
}

class SourceTree implements KubernetesSource {
  readonly type = 'source';
  readonly version: string;
  readonly origin: string;
  readonly #folder: string;
  readonly #compile: Compile;
  readonly #context: SourceContext;

  constructor(folder: string, version: string, compile: Compile, context: SourceContext) {
    this.version = version;
    this.origin = basename(folder);
    this.#folder = folder;
    this.#compile = compile;
    this.#context = context;
  }

  async pin(members: readonly ReleaseMember[], architecture: Architecture): Promise<Artifact[]> {
    const wanted = Promise.all(members.map((member) => this.#look(member, architecture)));
    const components = wanted.then((all) => all.filter((w) => w.archive === undefined).map((w) => w.member.component));
    const places = await this.#compile(components, architecture);
    const binaries = new Map((await components).map((component, i) => [component, places[i] as string]));
    return Promise.all((await wanted).map((one) => this.#pinOne(one, binaries, architecture)));
  }

  async #look(member: ReleaseMember, architecture: Architecture): Promise<Wanted> {
    const { component, form } = member;
    if (!(await isKind(join(this.#folder, 'cmd', component), 'directory')))
      throw new KinaError('not-found', `the source tree ${this.#folder} has no cmd/${component}`);
    if (form === 'program') return { member, archive: undefined, base: [] };
    const archive = await this.#releaseImage(component, architecture);
    const base = archive === undefined ? await this.#baseOf(component, architecture) : [];
    return { member, archive, base };
  }

  async #pinOne(
    { member, archive, base }: Wanted,
    binaries: ReadonlyMap<string, string>,
    architecture: Architecture,
  ): Promise<Artifact> {
    const { store } = this.#context;
    const { component: name } = member;
    if (archive !== undefined) return importLocal(archive, memberName(member), this.version, store);
    const binary = await importLocal(binaries.get(name) as string, name, this.version, store);
    if (member.form === 'program') return binary;
    const reference = `${await this.#context.imageRepository(this.version)}/${name}:${tagOf(this.version)}`;
    return binaryImage({ name, binary, reference, base, architecture }, store);
  }

  async #releaseImage(component: string, architecture: Architecture): Promise<string | undefined> {
    const { store, reporter } = this.#context;
    const place = join(this.#folder, '_output/release-images', architecture, `${component}.tar`);
    if (!(await isKind(place, 'file'))) return undefined;
    const names = (await openArchive(store, place)).flatMap((image) => image.names);
    if (names.some((name) => name.endsWith(`:${tagOf(this.version)}`))) {
      reporter.info(`${component} (linux/${architecture}): using the image in ${place}`);
      return place;
    }
    reporter.warn(`${place} is ignored: it contains ${names.join(', ')}, want version ${this.version}`);
    return undefined;
  }

  /** Only kube-proxy has a base. It is fetched before anything is compiled, because it may not exist. */
  async #baseOf(component: string, architecture: Architecture): Promise<BaseLayer[]> {
    if (component !== 'kube-proxy') return [];
    const { environment } = this.#context;
    try {
      return await fetchBase(await proxyBase(this.#folder, environment), architecture, this.#context);
    } catch (error) {
      if (!(error instanceof KinaError)) throw error;
      throw new KinaError(error.code, `no base for the image of kube-proxy: ${error.message}`, {
        details: error.details,
        hint: 'The base must have iptables. Name one in KUBE_PROXY_BASE_IMAGE, or run `make quick-release-images` in the source tree, which needs docker.',
        cause: error,
      });
    }
  }
}

/** Like upstream's scripts: a tag cannot contain the `+` of a version between two releases. */
function tagOf(version: string): string {
  return version.replaceAll('+', '_');
}

/** The base of kube-proxy's image: from upstream's own variables, else the version in build/common.sh. */
async function proxyBase(tree: string, environment: Environment): Promise<string> {
  if (environment.KUBE_PROXY_BASE_IMAGE) return environment.KUBE_PROXY_BASE_IMAGE;
  const script = join(tree, 'build/common.sh');
  const text = await readFile(script, 'utf8').catch(() => '');
  // distroless-iptables since 1.25, debian-iptables before.
  const found = /\b(?:__default_)?(distroless|debian)_iptables_version=([\w.-]+)/.exec(text);
  if (!found)
    throw new KinaError('not-found', `${script} does not name a version of distroless-iptables or debian-iptables`);
  // Old trees name k8s.gcr.io, which is frozen since 2023; registry.k8s.io has all old images.
  const registry = environment.KUBE_BASE_IMAGE_REGISTRY || 'registry.k8s.io/build-image';
  return `${registry}/${found[1]}-iptables:${found[2]}`;
}
