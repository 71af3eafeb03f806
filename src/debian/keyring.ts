/** Debian's archive keys, shipped with kina; `docs/debian-keys.md` lists their fingerprints. */
import { fileURLToPath } from 'node:url';

/** The relative path is the same from `src/` and from `dist/`. */
export const debianKeyring = fileURLToPath(new URL('../../recipes/keys/debian-archive-keyring.pgp', import.meta.url));
