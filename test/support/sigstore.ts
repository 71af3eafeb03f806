/**
 * A Sigstore instance on loopback with keys of its own: Fulcio, its certificate log and Rekor, from Sigstore's own stand-ins.
 * What those leave out is done here: a real Rekor stores the hashes of an envelope, not the envelope.
 */
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { fulcioHandler } from '@sigstore/mock/dist/fulcio/handler.js';
// Not the package's front door: it also loads nock, which takes over this process's HTTP.
import { initializeCA, initializeCTLog } from '@sigstore/mock/dist/fulcio/index.js';
import { initializeTLog } from '@sigstore/mock/dist/rekor/index.js';
import type { ProposedDSSEEntry } from '@sigstore/rekor-types';
import { startServer } from './server.ts';

export interface Sigstore {
  readonly url: string;
  /** For `--fulcio-url` and `--rekor-url`. */
  readonly flags: readonly string[];
  /** `trusted_root.json` of this instance. */
  readonly root: object;
  /** `METHOD PATH` of every request. */
  readonly requests: readonly string[];
  /** Answers that are given instead, by path. */
  readonly broken: Map<string, { status: number; body: string }>;
  stop(): Promise<void>;
}

/** An unsigned token: the stand-in accepts everything. */
export function identityToken(subject: string, issuer: string, secret = 'signature'): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part({ sub: subject, iss: issuer, aud: 'sigstore' })}.${secret}`;
}

export async function startSigstore(): Promise<Sigstore> {
  const broken = new Map<string, { status: number; body: string }>();
  const keys = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const [caKeys, ctKeys, logKeys] = [keys(), keys(), keys()];
  const ctlog = await initializeCTLog(ctKeys);
  const ca = await initializeCA(caKeys, ctlog);
  const fulcio = fulcioHandler(ca, { strict: true });
  let url = '';
  const server = await startServer(async (request, response) => {
    const path = new URL(request.url ?? '', 'http://x').pathname;
    const body = await textOf(request);
    const fault = broken.get(path);
    if (fault) return void response.writeHead(fault.status, { 'content-type': 'application/json' }).end(fault.body);
    if (path === fulcio.path) {
      const answer = await fulcio.fn(body);
      response.writeHead(answer.statusCode, { 'content-type': answer.contentType ?? 'text/plain' });
      return void response.end(answer.response);
    }
    const log = await initializeTLog(url, logKeys);
    const entry = await log.log(stored(JSON.parse(body)));
    response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify(entry));
  });
  url = server.url;
  const validFor = { start: '2020-01-01T00:00:00Z' };
  const certificate = Buffer.from(ca.rootCertificate as Uint8Array).toString('base64');
  return {
    url,
    flags: ['--fulcio-url', url, '--rekor-url', url],
    requests: server.requests,
    broken,
    root: {
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [logOf(url, logKeys.publicKey, validFor)],
      certificateAuthorities: [
        {
          subject: { organization: 'sigstore.mock', commonName: 'sigstore' },
          uri: url,
          certChain: { certificates: [{ rawBytes: certificate }] },
          validFor,
        },
      ],
      ctlogs: [logOf(url, ctKeys.publicKey, validFor)],
      timestampAuthorities: [],
    },
    stop: server.stop,
  };
}

function logOf(baseUrl: string, key: KeyObject, validFor: object): object {
  const rawBytes = key.export({ format: 'der', type: 'spki' });
  return {
    baseUrl,
    hashAlgorithm: 'SHA2_256',
    publicKey: { rawBytes: rawBytes.toString('base64'), keyDetails: 'PKIX_ECDSA_P256_SHA_256', validFor },
    logId: { keyId: createHash('sha256').update(rawBytes).digest('base64') },
  };
}

/** What Rekor makes of a proposed entry of the kind `dsse` (github.com/sigstore/rekor, `pkg/types/dsse/v0.0.1`). */
function stored({ spec, ...rest }: ProposedDSSEEntry): ProposedDSSEEntry {
  const { envelope = '', verifiers = [] } = spec.proposedContent ?? {};
  const { payload, signatures } = JSON.parse(envelope) as { payload: string; signatures: [{ sig: string }] };
  const hash = (data: string | Buffer) => ({
    algorithm: 'sha256' as const,
    value: createHash('sha256').update(data).digest('hex'),
  });
  return {
    ...rest,
    spec: {
      envelopeHash: hash(envelope),
      payloadHash: hash(Buffer.from(payload, 'base64')),
      signatures: [{ signature: signatures[0].sig, verifier: verifiers[0] ?? '' }],
    },
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of request) text += part;
  return text;
}
