/** What kina has, what it would fetch, and whether the clocks agree about certificates. */
import { readContents } from '../../oci/image/contents.ts';
import { bad, type Check, ok } from './check.ts';

/** Every image is complete; nothing is hashed, which `kina cache verify` does. */
const store: Check = {
  id: 'store',
  title: "kina's store",
  async run(probes) {
    const opened = await probes.store();
    if (!opened) return ok(`none yet at ${probes.folder}`);
    const images = await opened.images();
    const broken: string[] = [];
    for (const { ref, descriptor } of images)
      try {
        const { blobs } = await readContents(opened, descriptor);
        for (const [digest, size] of blobs)
          if (!(await opened.has(digest, size))) broken.push(`${ref} lacks ${digest.slice(0, 19)}`);
      } catch (error) {
        broken.push(`${ref}: ${error instanceof Error ? error.message : error}`);
      }
    if (broken.length === 0) return ok(`${images.length} images, all complete`);
    return bad(
      'fail',
      broken.slice(0, 3).join('; '),
      'Build or pull these again; `kina cache verify` hashes everything.',
    );
  },
};

const upstreams: Check = {
  id: 'upstreams',
  title: 'upstreams or their mirrors',
  async run(probes) {
    const answers = await probes.upstreams();
    if (answers.length === 0) return ok('not asked (--offline)');
    const silent = answers.filter(({ problem }) => problem !== undefined);
    if (silent.length === 0) return ok(`${answers.map(({ url }) => new URL(url).host).join(', ')} answer`);
    const said = silent.map(({ url, problem }) => `${new URL(url).host}: ${problem}`).join('; ');
    const advice =
      'Set a proxy (HTTPS_PROXY) or a mirror (--mirror, KINA_MIRROR); on a Mac also look for a VPN that came or went. What is in the store works without.';
    return bad('fail', said, advice);
  },
};

const seconds = 1000;

const clock: Check = {
  id: 'clock',
  title: 'clock',
  async run(probes) {
    const asked = probes.now();
    const dates = (await probes.upstreams()).flatMap(({ date }) => date ?? []);
    if (dates.length === 0)
      return bad('unknown', 'no server told the time', 'Compare it by hand; certificates depend on it.');
    // Several servers: the nearest, since one of them may be a stale cache.
    const off = Math.min(...dates.map((date) => Math.abs(date - asked)));
    const found = `${Math.round(off / seconds)} s from the servers'`;
    const advice =
      'Set the clock (systemsetup -setusingnetworktime on; timedatectl set-ntp true): certificates would not be valid yet, or no more.';
    if (off > 300 * seconds) return bad('fail', found, advice);
    return off > 30 * seconds ? bad('warn', found, advice) : ok(found);
  },
};

export const reachChecks: readonly Check[] = [store, upstreams, clock];
