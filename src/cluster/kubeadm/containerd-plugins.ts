/**
 * Maps the settings of the CRI plugin of containerd 1.x to those of 2.x. Source: containerd's own migration, `migrateConfig`
 * in plugins/cri/images, plugins/cri/runtime and plugins/cri (commit 04d0bebd).
 */
import type { Operation } from 'rfc6902';
import { isObject, type Json, type JsonObject, mergePatch } from '../config/merge.ts';

export const oldPlugin = 'io.containerd.grpc.v1.cri';
const images = 'io.containerd.cri.v1.images';
const runtime = 'io.containerd.cri.v1.runtime';
export const pluginsOf3: readonly string[] = [images, runtime];

const imageKeys = new Set([
  'registry',
  'image_decryption',
  'max_concurrent_downloads',
  'image_pull_progress_timeout',
  'image_pull_with_sync_fs',
  'stats_collect_period',
]);
/** Keys of the `containerd` table. */
const snapshotKeys = new Set(['snapshotter', 'disable_snapshot_annotations', 'discard_unpacked_layers']);
/** The old plugin still exists for the streaming server. */
const serverKeys = new Set([
  'disable_tcp_service',
  'stream_server_address',
  'stream_server_port',
  'stream_idle_timeout',
  'enable_tls_streaming',
  'x509_key_pair_streaming',
]);

/**
 * The new path, starting with the name of the plugin, for a path below the old plugin. Throws an `Error` if there is none,
 * or if the path maps to several tables, like that of the whole plugin.
 */
function successor(path: readonly string[]): string[] {
  const [key = '', second = '', third, fourth] = path;
  const name = `plugins."${oldPlugin}"${path.map((part) => `.${part}`).join('')}`;
  if (path.length === 0 || (key === 'containerd' && path.length === 1))
    throw new Error(`${name} is split into several tables in version 3 of the format`);
  if (serverKeys.has(key)) return [oldPlugin, ...path];
  if (key === 'sandbox_image') return [images, 'pinned_images', 'sandbox'];
  if (imageKeys.has(key)) return [images, ...path];
  if (key === 'cni' && second === 'bin_dir')
    throw new Error(`${name} is a list in version 3 of the format: ${runtime}.cni.bin_dirs`);
  if (key === 'containerd' && snapshotKeys.has(second)) return [images, ...path.slice(1)];
  if (key === 'containerd' && ['default_runtime', 'untrusted_workload_runtime'].includes(second))
    throw new Error(`${name} does not exist in containerd 2; use containerd.runtimes and default_runtime_name`);
  if (key === 'containerd' && second === 'runtimes' && fourth === 'sandbox_mode')
    return [runtime, key, second, third!, 'sandboxer'];
  if (key === 'systemd_cgroup')
    throw new Error(`${name} does not exist in containerd 2; use containerd.runtimes.NAME.options.SystemdCgroup`);
  return [runtime, ...path];
}

/** Converts a patch from version 2 to version 3. */
export function movePlugins(patch: JsonObject): JsonObject {
  const { version: _version, plugins, ...others } = patch;
  if (!isObject(plugins)) return others;
  const { [oldPlugin]: old, ...kept } = plugins;
  let moved: Json = kept;
  if (isObject(old))
    for (const { path, value } of settings(old, [])) moved = mergePatch(moved, nested(successor(path), value));
  return { ...others, plugins: moved };
}

/** Splits tables to the depth at which their settings may move: two levels, and the keys of each runtime. */
function settings(table: JsonObject, path: readonly string[]): { path: string[]; value: Json }[] {
  return Object.entries(table).flatMap(([key, value]) => {
    const here = [...path, key];
    const open = ['cni', 'containerd', 'containerd/runtimes'].includes(here.join('/')) || isRuntime(here);
    return open && isObject(value) && Object.keys(value).length > 0 ? settings(value, here) : [{ path: here, value }];
  });
}

const isRuntime = (path: readonly string[]): boolean =>
  path.length === 3 && path[0] === 'containerd' && path[1] === 'runtimes';

const nested = (path: readonly string[], value: Json): Json =>
  path.reduceRight<Json>((inner, key) => ({ [key]: inner }), value);

/** Converts the pointers of JSON patches from version 2 to version 3. */
export function moveOperations(operations: readonly Operation[]): Operation[] {
  return operations.map((operation) => {
    const path = movePointer(operation.path);
    return 'from' in operation ? { ...operation, path, from: movePointer(operation.from) } : { ...operation, path };
  });
}

function movePointer(pointer: string): string {
  const tokens = pointer.split('/').map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
  if (tokens[1] !== 'plugins' || tokens[2] !== oldPlugin) return pointer;
  const moved = ['', 'plugins', ...successor(tokens.slice(3))];
  return moved.map((token) => token.replaceAll('~', '~0').replaceAll('/', '~1')).join('/');
}
