/**
 * Apple's `container` for tests: the stand-in of test/apple, in front of the PATH, with a state of its own. With `engine:
 * false` podman is a program that says yes, for tests of what is said to the runtime and not of what runs on it.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { prefixOf } from '../apple/prefix.ts';
import { projectRoot } from './command.ts';

const reference = process.env.KINA_TEST_APPLE_REFERENCE;

/** A description of that runtime and its recorded answers, in the folder that `KINA_TEST_APPLE_REFERENCE` names. */
export const appleReference = {
  text: join(reference ?? '', 'apple-container.md'),
  fixtures: join(reference ?? '', 'apple-fixtures'),
  missing:
    reference && existsSync(join(reference, 'apple-container.md'))
      ? undefined
      : 'KINA_TEST_APPLE_REFERENCE does not name a folder with apple-container.md',
};

export interface AppleStandIn {
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  /** How the names of all that it has on podman begin. */
  readonly prefix: string;
  /** Every call so far. */
  calls(): string[][];
  close(): void;
}

/** Says yes; containers run when the file `up` lists them. */
const yes = `#!/bin/sh
echo "$*" >>"$FAKE_PODMAN/podman"
case $1 in
ps) [ ! -e "$FAKE_PODMAN/created" ] || echo id ;;
create) for a in "$@"; do case $a in --name=*) echo "\${a#--name=}" >"$FAKE_PODMAN/created" ;; esac; done ;;
start) [ ! -e "$FAKE_PODMAN/slow" ] || sleep 2; : >"$FAKE_PODMAN/up" ;;
stop) rm -f "$FAKE_PODMAN/up" ;;
rm) rm -f "$FAKE_PODMAN/up" "$FAKE_PODMAN/created" ;;
load) cat >/dev/null ;;
inspect)
  [ -e "$FAKE_PODMAN/up" ] && up=true || up=false
  case $* in
  *format*) echo $up ;;
  *) echo "[{\\"Name\\":\\"$(cat "$FAKE_PODMAN/created")\\",\\"State\\":{\\"Running\\":$up},\\"NetworkSettings\\":{\\"Networks\\":{\\"n\\":{\\"IPAddress\\":\\"192.168.90.2\\"}}}}]" ;;
  esac ;;
network) [ "$2" != inspect ] || echo '[{"subnets":[{"subnet":"192.168.90.0/24"}]}]' ;;
exec)
  case $* in
  *' kubectx') echo 'Error: runc: exec failed: exec: "kubectx": executable file not found in $PATH: OCI runtime attempted to invoke a command that was not found' >&2; exit 127 ;;
  *' exit3') echo oops >&2; exit 3 ;;
  *' cat') cat ;;
  esac ;;
esac
exit 0
`;

export function appleStandIn(options: { engine: boolean; env?: Readonly<Record<string, string>> }): AppleStandIn {
  const folder = mkdtempSync(join(tmpdir(), 'kina-apple-'));
  const record = join(folder, 'calls');
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  if (!options.engine) {
    writeFileSync(join(bin, 'podman'), yes);
    chmodSync(join(bin, 'podman'), 0o755);
  }
  // The stand-in is a program for the Node that runs the tests, whatever `node` the PATH has.
  const path = [bin, join(projectRoot, 'test/apple'), dirname(process.execPath), process.env.PATH].join(':');
  const state = join(folder, 'state');
  return {
    folder,
    prefix: prefixOf(state),
    env: {
      PATH: path,
      KINA_APPLE_STATE: state,
      KINA_APPLE_RECORD: record,
      FAKE_PODMAN: folder,
      ...options.env,
    },
    calls: () =>
      existsSync(record)
        ? readFileSync(record, 'utf8')
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line) as string[])
        : [],
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}
