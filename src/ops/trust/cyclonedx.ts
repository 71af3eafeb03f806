/** An inventory as CycloneDX 1.6 (cyclonedx.org/docs/1.6/json), in canonical JSON. */
import { sha256 } from '../../host/json.ts';
import type { Inventory } from './inventory.ts';
import type { InventoryItem } from './item.ts';
import { expressionOf } from './licences.ts';
import { purlOf, uuidOf } from './purl.ts';

/** `name` is the name of the image, `version` that of kina. */
export function cyclonedx(inventory: Inventory, name: string, version: string): object {
  const serial = uuidOf(sha256(`cyclonedx ${version} ${name} ${inventory.manifest}`).slice(7));
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${serial}`,
    version: 1,
    metadata: {
      timestamp: inventory.created,
      tools: { components: [{ type: 'application', name: 'kina', version }] },
      component: {
        type: 'container',
        'bom-ref': 'image',
        name,
        version: inventory.manifest,
        hashes: [{ alg: 'SHA-256', content: inventory.manifest.slice(7) }],
        properties: [{ name: 'kina:platform', value: inventory.platform }],
      },
    },
    components: inventory.items.map((item, i) => {
      const expression = expressionOf(item.licences);
      const purl = purlOf(item);
      return {
        type: types[item.kind],
        'bom-ref': `${item.kind}-${i}`,
        name: item.name,
        ...(item.version === undefined ? {} : { version: item.version }),
        ...(item.sha256 ? { hashes: [{ alg: 'SHA-256', content: item.sha256 }] } : {}),
        ...(expression ? { licenses: [{ expression: expression.text }] } : {}),
        ...(purl ? { purl } : {}),
        ...(item.url ? { externalReferences: [{ type: 'distribution', url: item.url }] } : {}),
      };
    }),
  };
}

const types: Readonly<Record<InventoryItem['kind'], string>> = {
  debian: 'library',
  npm: 'library',
  upstream: 'application',
  image: 'container',
};
