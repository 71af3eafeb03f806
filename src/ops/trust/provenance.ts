/**
 * Provenance of an image: an in-toto statement with SLSA provenance (slsa.dev/spec/v1.0/provenance). It contains recipe,
 * variables, lock digest, kina's version and every material with its digest, but no time, machine or person, so the same
 * build gives the same statement. It is not signed by itself; `bundle.ts` signs it together with the image.
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

/** `name`: of the image, without tag and digest. Throws `not-found` for an image that this store did not build. */
export async function provenance(store: Store, image: ImageContents, name: string): Promise<object> {
  const origins = await originsOf(store, image);
  if (!origins)
    throw new KinaError('not-found', `no build record for ${name} in this store`, {
      hint: 'Provenance needs the store of the build: build the image again with the same lock, then push it.',
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
          // For each platform alone, like the label of its image.
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
