/** One thing in an image, whatever brought it there. */
export interface InventoryItem {
  readonly kind: 'debian' | 'npm' | 'upstream' | 'image';
  readonly name: string;
  readonly version: string | undefined;
  /** Debian's name of the architecture. */
  readonly architecture?: string | undefined;
  /** Where it can be had, if it is known. */
  readonly url?: string | undefined;
  /** SHA-256 in hex: of the file, or of an image's manifest. */
  readonly sha256?: string | undefined;
  /** Names of licences as Debian writes them; empty when nothing is known. */
  readonly licences: readonly string[];
}
