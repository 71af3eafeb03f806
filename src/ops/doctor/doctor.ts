/** Examines whether this machine can build images and run clusters. */
import { type ConnectionOptions, openConnection } from '../../session/connection.ts';
import { examine, type Finding } from './check.ts';
import { doctorChecks } from './checks.ts';
import { machineProbes } from './probes.ts';

export interface DoctorOptions extends ConnectionOptions {
  /** Called for each finding, in the order of the result, as soon as it is known. */
  readonly onFinding?: (finding: Finding) => void;
}

/** With `offline` the download servers are not contacted. */
export function runDoctor(options: DoctorOptions): Promise<Finding[]> {
  const { environment, offline, onFinding } = options;
  const connect = async () => {
    const { transport, debianBases } = await openConnection(options);
    return { transport, debian: debianBases.debian ?? 'http://ftp.debian.org/debian' };
  };
  const probes = machineProbes({ environment, connect: offline ? undefined : connect });
  return examine(doctorChecks, probes, onFinding);
}
