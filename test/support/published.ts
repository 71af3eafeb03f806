/** A small image of two platforms in a real registry, with everything that kina puts beside an image. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { Transport } from '../../src/host/http.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { publishImage } from '../../src/ops/registry/publish.ts';
import { attachDocuments } from '../../src/ops/trust/attach.ts';
import type { Trust } from '../../src/ops/trust/check-signature.ts';
import { rememberOrigin } from '../../src/ops/trust/origin.ts';
import { keySigner } from '../../src/ops/trust/sign.ts';
import { type Verdict, verify } from '../../src/ops/verify/verify.ts';
import { directNetwork } from '../../src/session/connection.ts';
import { openWorkshop, type Workshop } from './build.ts';
import { smallRecipe, version } from './kina.ts';
import { startUpstream } from './upstream.ts';

export interface Published {
  readonly root: Descriptor;
  readonly privateKey: KeyObject;
  readonly transport: Transport;
  /** Another machine: nothing in its store. */
  readonly elsewhere: Workshop;
  /** There, with the key that signed. */
  verify(ref: string): Promise<Verdict>;
  close(): Promise<void>;
}

/** Builds, pushes to `ref` with SBOMs and provenance, and signs. */
export async function publishSigned(ref: string): Promise<Published> {
  const upstream = await startUpstream();
  const maker = await openWorkshop({ mirror: [upstream.url] });
  const elsewhere = await openWorkshop();
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const transport = new Transport(directNetwork({ environment: process.env, insecureRegistry: [], version: 'test' }));
  const { store, reporter } = maker.tools;
  const platforms = ['linux/amd64', 'linux/arm64'];
  const built = await maker.build({ recipe: smallRecipe, source: version, platforms });
  await rememberOrigin(store, built.resolved.lock, built);
  const to = [parseReference(ref)];
  const { root } = await publishImage(built.index, to, { kind: 'zstd' }, { store, reporter, transport });
  const documents = { sbom: true, provenance: true, signer: keySigner(privateKey) };
  await attachDocuments(root, to, documents, { store, transport, version: '0.0.0-test' });
  const trust: Trust = { key: publicKey, root: undefined };
  return {
    root,
    privateKey,
    transport,
    elsewhere,
    verify: (of) =>
      verify({
        ...elsewhere.tools,
        rebuild: false,
        lock: undefined,
        recipe: undefined,
        trust,
        image: `docker://${of}`,
      }),
    async close() {
      await transport.close();
      await elsewhere.close();
      await maker.close();
      await upstream.stop();
    },
  };
}
