/**
 * How an image came to be: an in-toto statement with SLSA provenance (slsa.dev/spec/v1.0/provenance). It names recipe,
 * variables, lock digest, kina's version and every material with its digest, and no time, no machine and no person: the same
 * build says the same. By itself it is not signed; `bundle.ts` signs it together with the image.
 */
import { lockDigest } from '../../build/lock.ts';
import { KinaError } from '../../host/errors.ts';
import { redact } from '../../host/http-route.ts';
import { hexOf } from '../../oci/descriptor.ts';
import type { ImageContents } from '../../oci/image/contents.ts';
import { nameOf } from '../../oci/image/select.ts';
import { labels } from '../../oci/node-conventions.ts';
import type { Store } from '../../oci/store/store.ts';
import { artifactsOf, joinOrigins, originsOf } from './origin.ts';

/** `name` is the image's, without tag and digest. Throws `not-found` for an image that this store did not see built. */
export async function provenance(store: Store, image: ImageContents, name: string): Promise<object> {
  const origins = await originsOf(store, image);
  if (!origins)
    throw new KinaError('not-found', `how ${name} was built is not known here`, {
      hint: 'Provenance can be given where the image was built: build it again, with the same lock, and push from there.',
    });
  const whole = joinOrigins(origins);
  const version = image.platforms[0]?.config.config?.Labels?.[labels.kina] ?? 'unknown';
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [
      { name, digest: { sha256: hexOf(image.descriptor.digest) } },
      ...image.platforms
        .filter(({ descriptor }) => descriptor.digest !== image.descriptor.digest)
        .map((platform) => ({
          name: `${name} (${nameOf(platform)})`,
          digest: { sha256: hexOf(platform.descriptor.digest) },
        })),
    ],
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: 'kina:node-image/v1',
        externalParameters: {
          recipe: whole.recipe,
          ...(whole.kubernetes === undefined ? {} : { kubernetes: whole.kubernetes }),
          variables: whole.variables,
          platforms: Object.keys(whole.platforms).sort(),
        },
        internalParameters: {
          lock: lockDigest(whole),
          // Of each platform alone, as the label of its image says.
          locks: Object.fromEntries(
            origins.flatMap((origin) =>
              Object.keys(origin.platforms).map((platform) => [platform, lockDigest(origin)]),
            ),
          ),
        },
        resolvedDependencies: artifactsOf(whole).map(({ name: artifact, version: of, url, digest, verifiedBy }) => ({
          name: of === undefined ? artifact : `${artifact} ${of}`,
          uri: redact(url),
          digest: { sha256: digest.slice(7) },
          annotations: { verifiedBy },
        })),
      },
      runDetails: { builder: { id: 'kina:cli', version: { kina: version } } },
    },
  };
}
