/**
 * `system`: state of the whole image that package scripts would create: accounts, linker cache, alternatives, CA bundle, dpkg's
 * database. It is derived from the merged tree.
 */
import { z } from 'zod';
import { unknownScripts } from '../../debian/scripts.ts';
import { deriveSystem } from '../../debian/system.ts';
import { defineKind } from '../kind.ts';

const schema = z.strictObject({});

export const systemKind = defineKind({
  name: 'system',
  version: 2,
  schema,
  derived: true,
  summary: 'whole-tree state: accounts, linker cache, alternatives, CA bundle, dpkg database',
  async tree(_step, _pins, context) {
    for (const unknown of unknownScripts(context.packages))
      context.reporter.warn(`the maintainer scripts of ${unknown} have no native equivalent and were not run`);
    const tree = await deriveSystem(context.merged, context.packages, {
      architecture: context.platform.architecture,
      accounts: {
        users: context.accounts.flatMap((a) => a.users),
        groups: context.accounts.flatMap((a) => a.groups),
        members: context.accounts.flatMap((a) => a.members),
      },
      mtime: context.epoch,
      prune: context.prune,
      owner: context.owner,
    });
    return { tree };
  },
});
