/**
 * Patches of containerd's configuration, as `containerdConfigPatches` of a cluster file has them.
 *
 * Most are written for version 2 of the format, often without saying so; newer nodes have version 3, where the CRI plugin
 * is split in two. They are translated, because containerd would ignore the old names without a word. What cannot be
 * translated is refused by name.
 */
import { parse, stringify } from 'smol-toml';
import { KinaError } from '../../host/errors.ts';
import { isObject, type Json, type JsonObject, jsonPatch, mergePatch } from '../config/merge.ts';
import { parseOperations } from '../config/parse-patches.ts';
import { moveOperations, movePlugins, oldPlugin, pluginsOf3 } from './containerd-plugins.ts';

/**
 * `toml` with merge patches (TOML, RFC 7386; there is no null, so nothing is ever removed), then JSON patches (YAML or
 * JSON). Without patches the text stays as it is, comments included. Throws `config` with every patch that does not fit.
 */
export function patchContainerd(
  toml: string,
  mergePatches: readonly string[],
  jsonPatches: readonly string[] = [],
): string {
  if (mergePatches.length === 0 && jsonPatches.length === 0) return toml;
  const problems: string[] = [];
  const attempt = (where: string, change: () => Json): void => {
    try {
      config = change();
    } catch (error) {
      problems.push(`${where}: ${(error as Error).message.split('\n')[0]}`);
    }
  };
  let config: Json = read(toml);
  const fileVersion = versionOf(config as JsonObject, 1);
  const patches = mergePatches.map((text, i) => ({ text, where: `containerdConfigPatches[${i}]` }));
  const versions = patches.map(({ text }) => declaredVersion(text));
  for (const { text, where } of patches)
    attempt(where, () => {
      const patch = read(text);
      const version = declaredVersion(text) ?? fileVersion;
      if (version === fileVersion) return mergePatch(config, patch);
      // The same patch written for several versions: one of them is enough.
      if (versions.includes(fileVersion) && 'version' in patch) return config;
      if (version !== 2 || fileVersion !== 3)
        throw new Error(`it is for version ${version} of the format, the node's file has version ${fileVersion}`);
      return mergePatch(config, movePlugins(patch));
    });
  for (const [i, text] of jsonPatches.entries())
    attempt(`containerdConfigPatchesJSON6902[${i}]`, () => {
      const wrong: string[] = [];
      const operations = parseOperations(text, (what) => wrong.push(what)) ?? [];
      if (wrong.length > 0) throw new Error(wrong.join('; '));
      return jsonPatch(config, integersAsBigInt(fileVersion === 3 ? moveOperations(operations) : operations) as never);
    });
  if (problems.length > 0)
    throw new KinaError('config', "patches of containerd's configuration do not fit the node image", {
      details: problems,
      hint: `The image has version ${fileVersion} of the format (/etc/containerd/config.toml).`,
    });
  const chosen = [...mergePatches, ...jsonPatches].some((text) => text.includes('config_path'));
  return stringify(chosen ? config : withoutHostsFolder(config as JsonObject), { numbersAsFloat: true });
}

/**
 * containerd refuses to load its CRI plugin when a registry is configured both by `mirrors` (or `configs`) and by a folder
 * (criconfig.ValidateImageConfig). Patches with the former are still common, so they win over the image's folder.
 */
function withoutHostsFolder(config: JsonObject): JsonObject {
  const plugins = isObject(config.plugins) ? config.plugins : {};
  const name = [oldPlugin, ...pluginsOf3].find((plugin) => {
    const registry = isObject(plugins[plugin]) ? plugins[plugin].registry : undefined;
    return isObject(registry) && ('mirrors' in registry || 'configs' in registry);
  });
  return name
    ? (mergePatch(config, { plugins: { [name]: { registry: { config_path: null } } } }) as JsonObject)
    : config;
}

/** Integers as bigint, so that `1.0` does not become `1` on the way. */
const read = (toml: string): JsonObject => parse(toml, { integersAsBigInt: true }) as JsonObject;

function versionOf(config: JsonObject, otherwise: number): number {
  return typeof config.version === 'bigint' ? Number(config.version) : otherwise;
}

/** What the patch says, or what its plugins' names say; `undefined`: it fits any. */
function declaredVersion(text: string): number | undefined {
  let patch: JsonObject;
  try {
    patch = read(text);
  } catch {
    return undefined; // reported where it is applied
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
