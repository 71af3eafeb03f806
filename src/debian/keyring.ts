/** Debian's archive keys, shipped with kina; `docs/debian-keys.md` has their fingerprints. */
import { fileURLToPath } from 'node:url';

/** The same relative place from `src/` and from `dist/`. */
export const debianKeyring = fileURLToPath(new URL('../../recipes/keys/debian-archive-keyring.pgp', import.meta.url));
