/** An inventory as SPDX 2.3 (spdx.github.io/spdx-spec/v2.3), in canonical JSON. */
import { sha256 } from '../../host/json.ts';
import type { Inventory } from './inventory.ts';
import type { InventoryItem } from './item.ts';
import { expressionOf } from './licences.ts';
import { purlOf, uuidOf } from './purl.ts';

/** `name` is the name of the image, `version` that of kina. */
export function spdx(inventory: Inventory, name: string, version: string): object {
  const references = new Map<string, string>();
  const ids = new Set<string>();
  const packages = inventory.items.map((item) => spdxPackage(item, ids, references));
  const image = 'SPDXRef-image';
  return {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: `${name} (${inventory.platform})`,
    documentNamespace: `urn:uuid:${uuidOf(sha256(`spdx ${version} ${name} ${inventory.manifest}`).slice(7))}`,
    creationInfo: { created: inventory.created, creators: [`Tool: kina-${version}`] },
    packages: [
      {
        SPDXID: image,
        name,
        versionInfo: inventory.manifest,
        downloadLocation: 'NOASSERTION',
        filesAnalyzed: false,
        checksums: [{ algorithm: 'SHA256', checksumValue: inventory.manifest.slice(7) }],
        primaryPackagePurpose: 'CONTAINER',
        licenseConcluded: 'NOASSERTION',
        licenseDeclared: 'NOASSERTION',
        copyrightText: 'NOASSERTION',
      },
      ...packages,
    ],
    relationships: [
      { spdxElementId: 'SPDXRef-DOCUMENT', relationshipType: 'DESCRIBES', relatedSpdxElement: image },
      ...packages.map(({ SPDXID }) => ({
        spdxElementId: image,
        relationshipType: 'CONTAINS',
        relatedSpdxElement: SPDXID,
      })),
    ],
    hasExtractedLicensingInfos: [...references].sort().map(([licenseId, words]) => ({
      licenseId,
      name: words,
      extractedText: `Debian calls this licence "${words}". Its text is in /usr/share/doc/PACKAGE/copyright of the image.`,
    })),
  };
}

/** `ids` are taken; `references` collects the names of licences that are not in SPDX's list. */
function spdxPackage(item: InventoryItem, ids: Set<string>, references: Map<string, string>) {
  const expression = expressionOf(item.licences);
  for (const [reference, words] of expression?.references ?? []) references.set(reference, words);
  const purl = purlOf(item);
  return {
    SPDXID: unique(ids, `SPDXRef-${item.kind}-${item.name}-${item.architecture ?? ''}`),
    name: item.name,
    ...(item.version === undefined ? {} : { versionInfo: item.version }),
    ...(item.kind === 'debian' ? { supplier: 'Organization: Debian' } : {}),
    downloadLocation: item.url ?? 'NOASSERTION',
    filesAnalyzed: false,
    ...(item.sha256 ? { checksums: [{ algorithm: 'SHA256', checksumValue: item.sha256 }] } : {}),
    primaryPackagePurpose: purposes[item.kind],
    licenseConcluded: 'NOASSERTION',
    licenseDeclared: expression?.text ?? 'NOASSERTION',
    copyrightText: 'NOASSERTION',
    ...(purl
      ? { externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: purl }] }
      : {}),
  };
}

const purposes: Readonly<Record<InventoryItem['kind'], string>> = {
  debian: 'LIBRARY',
  npm: 'LIBRARY',
  upstream: 'APPLICATION',
  image: 'CONTAINER',
};

/** Letters, digits, `.` and `-` (3.2 "SPDX identifier"); a number makes equal results unique. */
function unique(taken: Set<string>, wanted: string): string {
  const base = wanted.replace(/[^A-Za-z0-9.-]+/g, '-').replace(/-+$/, '');
  let id = base;
  for (let n = 2; taken.has(id); n++) id = `${base}-${n}`;
  taken.add(id);
  return id;
}
