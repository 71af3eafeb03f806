/** Options of a CRI service. */
import type { Provider } from '../../provider/provider.ts';

export interface CriOptions {
  readonly provider: Provider;
  /** Of sandboxes; known to the provider already. */
  readonly sandboxImage: string;
  /** Absolute path of the folder for records, image disks and sockets. One service at a time uses it. */
  readonly root: string;
  /** Absolute folders of this machine that every sandbox sees. */
  readonly shares: readonly string[];
  readonly network: string;
  /** Addresses that only a node translates (for example of Services), and that node: `10.96.0.0/16` by `192.168.64.2`. */
  readonly routes: readonly { readonly destination: string; readonly gateway: string }[];
  /** MiB of a sandbox if its pod has no limits; absent: the provider's default. */
  readonly cpus?: number | undefined;
  readonly memory?: number | undefined;
  readonly streaming: { readonly address: string; readonly port: number };
  readonly version: string;
  /** A log line for the operator of the service. */
  log(line: string): void;
}
