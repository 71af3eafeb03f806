/** One component of an image, wherever it comes from. */
export interface InventoryItem {
  readonly kind: 'debian' | 'npm' | 'upstream' | 'image';
  readonly name: string;
  readonly version: string | undefined;
  /** Debian's name of the architecture. */
  readonly architecture?: string | undefined;
  /** Its URL, if known. */
  readonly url?: string | undefined;
  /** SHA-256 in hex: of the file, or of an image's manifest. */
  readonly sha256?: string | undefined;
  /** Names of licenses in Debian's spelling; empty if unknown. */
  readonly licences: readonly string[];
}
