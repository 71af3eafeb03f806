/**
 * Applies `containerdConfigPatches` to the configuration of containerd.
 *
 * Most patches are written for version 2 of the format, often without a version. Newer nodes have version 3, where the CRI
 * plugin is split in two. Patches are converted, because containerd silently ignores the old names. Settings that cannot
 * be converted are errors.
 */
import type { Operation } from 'rfc6902';
import { parse, stringify } from 'smol-toml';
import { KinaError } from '../../host/errors.ts';
import { versionAtLeast } from '../../oci/node-conventions.ts';
import { isObject, type Json, type JsonObject, jsonPatch, mergePatch } from '../config/merge.ts';
import type { Cluster } from '../config/model.ts';
import { parseOperations } from '../config/parse-patches.ts';
import { moveOperations, movePlugins, oldPlugin, pluginsOf3 } from './containerd-plugins.ts';

/**
 * Applies merge patches (TOML by the rules of RFC 7386, without null), then JSON patches (YAML or JSON). Without patches
 * the text is unchanged, including comments. Throws `config` with all patches that do not apply.
 */
export function patchContainerd(
  toml: string,
  mergePatches: readonly string[],
  jsonPatches: readonly string[] = [],
): string {
  if (mergePatches.length === 0 && jsonPatches.length === 0) return toml;
  const format = versionOf(read(toml), 1);
  const problems: string[] = [];
  let config: Json = read(toml);
  for (const { where, apply } of changes(mergePatches, jsonPatches, format)) {
    try {
      config = apply()(config);
    } catch (error) {
      problems.push(`${where}: ${(error as Error).message.split('\n')[0]}`);
    }
  }
  if (problems.length > 0) throw mismatch(problems, format);
  const chosen = [...mergePatches, ...jsonPatches].some((text) => text.includes('config_path'));
  return stringify(chosen ? config : withoutHostsFolder(config as JsonObject), { numbersAsFloat: true });
}

/**
 * What can be said of the patches before there is a file: `containerd` is the version in the node image, 2 and later have
 * version 3 of the format. Throws like `patchContainerd`.
 */
export function checkContainerdPatches(
  { containerdPatches, containerdPatches6902 }: Pick<Cluster, 'containerdPatches' | 'containerdPatches6902'>,
  containerd: string,
): void {
  const format = versionAtLeast(containerd, '2.0.0') ? 3 : 2;
  const problems = changes(containerdPatches, containerdPatches6902, format).flatMap(({ where, apply }) => {
    try {
      apply();
      return [];
    } catch (error) {
      return [`${where}: ${(error as Error).message.split('\n')[0]}`];
    }
  });
  if (problems.length > 0) throw mismatch(problems, format);
}

interface Change {
  readonly where: string;
  /** Parses and converts the patch, and returns a function that applies it. Both throw an `Error`. */
  readonly apply: () => (config: Json) => Json;
}

function changes(mergePatches: readonly string[], jsonPatches: readonly string[], format: number): Change[] {
  const versions = mergePatches.map(declaredVersion);
  const merges = mergePatches.map((text, i): Change => {
    const apply = () => {
      const patch = read(text);
      const version = versions[i] ?? format;
      if (version === format) return (config: Json) => mergePatch(config, patch);
      // Files may contain a patch once for each version of the format.
      if (versions.includes(format) && 'version' in patch) return (config: Json) => config;
      if (version !== 2 || format !== 3)
        throw new Error(`the patch is for version ${version} of the format, but the node has version ${format}`);
      const moved = movePlugins(patch);
      return (config: Json) => mergePatch(config, moved);
    };
    return { where: `containerdConfigPatches[${i}]`, apply };
  });
  const edits = jsonPatches.map((text, i): Change => {
    const apply = () => {
      const wrong: string[] = [];
      const written = parseOperations(text, (what) => wrong.push(what)) ?? [];
      if (wrong.length > 0) throw new Error(wrong.join('; '));
      const operations = integersAsBigInt(format === 3 ? moveOperations(written) : written) as Operation[];
      return (config: Json) => jsonPatch(config, operations);
    };
    return { where: `containerdConfigPatchesJSON6902[${i}]`, apply };
  });
  return [...merges, ...edits];
}

function mismatch(problems: readonly string[], format: number): KinaError {
  return new KinaError('config', 'patches of the containerd configuration do not match the node image', {
    details: problems,
    hint: `/etc/containerd/config.toml in the image has version ${format} of the format.`,
  });
}

/**
 * containerd does not load its CRI plugin if registries are configured by both `mirrors` (or `configs` with TLS) and a
 * folder (criconfig.ValidateImageConfig). Patches with `mirrors` are still common and replace the folder of the image.
 */
function withoutHostsFolder(config: JsonObject): JsonObject {
  const plugins = isObject(config.plugins) ? config.plugins : {};
  const name = [oldPlugin, ...pluginsOf3].find((plugin) => {
    const registry = isObject(plugins[plugin]) ? plugins[plugin].registry : undefined;
    if (!isObject(registry)) return false;
    const configs = isObject(registry.configs) ? Object.values(registry.configs) : [];
    return 'mirrors' in registry || configs.some((one) => isObject(one) && 'tls' in one);
  });
  return name
    ? (mergePatch(config, { plugins: { [name]: { registry: { config_path: null } } } }) as JsonObject)
    : config;
}

/** Integers are bigints, to tell `1` from `1.0`. */
const read = (toml: string): JsonObject => parse(toml, { integersAsBigInt: true }) as JsonObject;

function versionOf(config: JsonObject, otherwise: number): number {
  return typeof config.version === 'bigint' ? Number(config.version) : otherwise;
}

/** The version in the patch, or that of its plugin names. Undefined if it applies to any version. */
function declaredVersion(text: string): number | undefined {
  let patch: JsonObject;
  try {
    patch = read(text);
  } catch {
    return undefined; // the error is reported when the patch is applied
  }
  if (patch.version !== undefined) return versionOf(patch, 1);
  const plugins = isObject(patch.plugins) ? Object.keys(patch.plugins) : [];
  if (plugins.some((name) => pluginsOf3.includes(name))) return 3;
  return plugins.includes(oldPlugin) ? 2 : undefined;
}

function integersAsBigInt(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(integersAsBigInt);
  if (isObject(value)) return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, integersAsBigInt(v)]));
  return Number.isInteger(value) ? BigInt(value as number) : value;
}
