/** Where tests keep and get what they fetch. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openConnection } from '../../src/session/connection.ts';

/** What tests fetch once: `KINA_TEST_CACHE`, else a folder in the temporary folder. */
export const testCache = process.env.KINA_TEST_CACHE ?? join(tmpdir(), 'kina-test-cache');

/** The Debian mirror of the test machine, found as kina finds it. */
export const debianMirror = (await openConnection({ environment: process.env, version: 'test' })).debianBases.debian!;
