/** What a CRI service is started with. */
import type { Provider } from '../../provider/provider.ts';

export interface CriOptions {
  readonly provider: Provider;
  /** Of sandboxes; known to the provider already. */
  readonly sandboxImage: string;
  /** Absolute: records, image disks, sockets. One service at a time has it. */
  readonly root: string;
  /** Absolute folders of this machine that every sandbox sees. */
  readonly shares: readonly string[];
  readonly network: string;
  /** Addresses that only a node translates, e.g. of services, and who does: `10.96.0.0/16` by `192.168.64.2`. */
  readonly routes: readonly { readonly destination: string; readonly gateway: string }[];
  /** Of a sandbox whose pod has no limits; absent: the provider's. MiB. */
  readonly cpus?: number | undefined;
  readonly memory?: number | undefined;
  readonly streaming: { readonly address: string; readonly port: number };
  readonly version: string;
  /** A log line for the operator of the service. */
  log(line: string): void;
}
