/** Checks of the store, of the servers that kina downloads from, and of the clock. */
import { readContents } from '../../oci/image/contents.ts';
import { bad, type DoctorCheck, ok } from './check.ts';

/** Checks that every image is complete. Digests are checked by `kina cache verify`. */
const store: DoctorCheck = {
  id: 'store',
  title: "kina's store",
  async run(probes) {
    const opened = await probes.store();
    if (!opened) return ok(`${probes.folder} does not exist yet`);
    const images = await opened.images();
    const broken: string[] = [];
    for (const { ref, descriptor } of images)
      try {
        const { blobs } = await readContents(opened, descriptor);
        for (const [digest, size] of blobs)
          if (!(await opened.has(digest, size))) broken.push(`${ref}: missing blob ${digest.slice(0, 19)}`);
      } catch (error) {
        broken.push(`${ref}: ${error instanceof Error ? error.message : error}`);
      }
    if (broken.length === 0) return ok(`${images.length} images, all complete`);
    return bad(
      'fail',
      broken.slice(0, 3).join('; '),
      'Build or pull these images again. `kina cache verify` checks all digests.',
    );
  },
};

const upstreams: DoctorCheck = {
  id: 'upstreams',
  title: 'download servers',
  async run(probes) {
    const answers = await probes.upstreams();
    if (answers.length === 0) return ok('skipped (--offline)');
    const unreachable = answers.filter(({ problem }) => problem !== undefined);
    if (unreachable.length === 0) return ok(`reached ${answers.map(({ url }) => new URL(url).host).join(', ')}`);
    const found = unreachable.map(({ url, problem }) => `${new URL(url).host}: ${problem}`).join('; ');
    const advice =
      'Set a proxy (HTTPS_PROXY) or a mirror (--mirror, KINA_MIRROR). On a Mac, check whether a VPN was connected or disconnected. Images in the store work without a network.';
    return bad('fail', found, advice);
  },
};

const seconds = 1000;

const clock: DoctorCheck = {
  id: 'clock',
  title: 'clock',
  async run(probes) {
    const asked = probes.now();
    const dates = (await probes.upstreams()).flatMap(({ date }) => date ?? []);
    if (dates.length === 0)
      return bad('unknown', 'no server sent its time', 'Check the clock by hand: certificates depend on it.');
    // The smallest difference, because a server may be a stale cache.
    const off = Math.min(...dates.map((date) => Math.abs(date - asked)));
    const found = `differs by ${Math.round(off / seconds)} s from the servers`;
    const advice =
      'Set the clock (systemsetup -setusingnetworktime on; timedatectl set-ntp true): certificates are valid only for a period of time.';
    if (off > 300 * seconds) return bad('fail', found, advice);
    return off > 30 * seconds ? bad('warn', found, advice) : ok(found);
  },
};

export const connectivityChecks: readonly DoctorCheck[] = [store, upstreams, clock];
