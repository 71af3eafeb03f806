/** The kinds that fetch nothing: `symlinks`, `directories`, `users`. */
import { z } from 'zod';
import { directory, symlink, Tree } from '../../tree/tree.ts';
import { defineKind } from '../kind.ts';
import { idSchema, modeSchema, nonEmptyPath, parseMode } from './schema.ts';

const symlinksSchema = z.strictObject({ links: z.record(nonEmptyPath, z.string().min(1)) });

export const symlinksKind = defineKind({
  name: 'symlinks',
  version: 1,
  schema: symlinksSchema,
  summary: 'symbolic links, place to target',
  async tree(step, _pins, context) {
    const tree = new Tree();
    for (const [path, target] of Object.entries(step.links)) tree.add(symlink(path, target, context.owner));
    return { tree };
  },
});

const directoriesSchema = z.strictObject({ paths: z.record(nonEmptyPath, modeSchema) });

export const directoriesKind = defineKind({
  name: 'directories',
  version: 1,
  schema: directoriesSchema,
  summary: 'folders with their permissions, owned by root',
  async tree(step, _pins, context) {
    const tree = new Tree();
    for (const [path, mode] of Object.entries(step.paths))
      tree.add(directory(path, context.owner, parseMode(mode, 0o755)));
    return { tree };
  },
});

const name = z.string().regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'expected an account name: lower case, digits, "_" and "-"');
const usersSchema = z.strictObject({
  users: z
    .array(
      z.strictObject({
        name,
        uid: idSchema,
        gid: idSchema.optional(),
        group: name.optional(),
        comment: z.string().optional(),
        home: z.string().optional(),
        shell: z.string().optional(),
      }),
    )
    .optional(),
  groups: z.array(z.strictObject({ name, gid: idSchema, members: z.array(name).optional() })).optional(),
});

export const usersKind = defineKind({
  name: 'users',
  version: 1,
  schema: usersSchema,
  summary: 'accounts and groups with fixed ids; they end up in passwd, group, shadow and gshadow',
  async tree(step) {
    const users = step.users ?? [];
    return {
      tree: new Tree(),
      accounts: {
        users: users.map((u) => ({
          name: u.name,
          uid: u.uid,
          ...(u.gid === undefined && u.group === undefined ? {} : { group: u.gid ?? u.group ?? u.name }),
          ...(u.comment === undefined ? {} : { gecos: u.comment }),
          ...(u.home === undefined ? {} : { home: u.home }),
          ...(u.shell === undefined ? {} : { shell: u.shell }),
        })),
        groups: (step.groups ?? []).map(({ name, gid }) => ({ name, gid })),
        members: (step.groups ?? []).flatMap((g) => (g.members ?? []).map((user) => ({ user, group: g.name }))),
      },
    };
  },
});
