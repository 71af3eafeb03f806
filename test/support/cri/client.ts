/**
 * A client of the Container Runtime Interface over a Unix socket, for tests and measurements: the same one for kina's service
 * and for any other. Messages are those of `src/cri/api`; what a request leaves out is absent on the wire.
 */
import { Client, type ClientReadableStream, credentials, type ServiceError } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import cri from '../../../src/cri/api/cri.json' with { type: 'json' };
import type { ImageServiceCalls, RuntimeServiceCalls, RuntimeServiceStreams } from '../../../src/cri/api/messages.ts';
import type { Outgoing } from '../../../src/cri/api/services.ts';

type CriCalls = RuntimeServiceCalls & ImageServiceCalls;

export interface CriClient {
  /** Waits until something answers at the socket; rejects after `seconds`. */
  ready(seconds: number): Promise<void>;
  /** Calls one method and waits for the answer, `seconds` at most (60). Rejects with grpc-js's error: `code`, `details`. */
  call<Name extends keyof CriCalls>(
    name: Name,
    request: Outgoing<CriCalls[Name][0]>,
    seconds?: number,
  ): Promise<CriCalls[Name][1]>;
  /** Calls one method that answers with a stream; iterating it throws grpc-js's error where that ends with one. */
  stream<Name extends keyof RuntimeServiceStreams>(
    name: Name,
    request: Outgoing<RuntimeServiceStreams[Name][0]>,
  ): ClientReadableStream<RuntimeServiceStreams[Name][1]>;
  close(): void;
}

const api = protobuf.Root.fromJSON(cri.root as unknown as protobuf.INamespace);
api.resolveAll();

/** `socket` is an absolute path; `v1alpha2` is what kubelets below 1.23 say. */
export function openCri(socket: string, version: 'v1' | 'v1alpha2' = 'v1'): CriClient {
  const client = new Client(`unix://${socket}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': 16 << 20, // what the kubelet accepts
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 500,
  });
  /** A method's path, and what makes bytes of its request and an answer of bytes. */
  const method = (name: string) => {
    const { path, input, output } = methodOf(name, version);
    return {
      path,
      encode: (message: object) => Buffer.from(input.encode(input.fromObject(message)).finish()),
      decode: (bytes: Buffer): unknown =>
        output.toObject(output.decode(bytes), { enums: String, longs: Number, defaults: true }),
    };
  };
  return {
    ready: (seconds) =>
      new Promise((resolve, reject) => {
        client.waitForReady(Date.now() + seconds * 1000, (error) => {
          if (error) reject(new Error(`nothing answers at ${socket}: ${error.message}`));
          else resolve();
        });
      }),
    call: (name, request, seconds = 60) =>
      new Promise((resolve, reject) => {
        const { path, encode, decode } = method(name);
        client.makeUnaryRequest(
          path,
          encode,
          decode,
          request as object,
          { deadline: Date.now() + seconds * 1000 },
          (error: ServiceError | null, answer) => (error ? reject(error) : resolve(answer as never)),
        );
      }),
    stream: (name, request) => {
      const { path, encode, decode } = method(name);
      return client.makeServerStreamRequest(path, encode, decode, request as object) as never;
    },
    close: () => client.close(),
  };
}

function methodOf(name: string, version: string): { path: string; input: protobuf.Type; output: protobuf.Type } {
  const wanted = name[0]!.toUpperCase() + name.slice(1);
  for (const service of ['RuntimeService', 'ImageService']) {
    const found = api.lookupService(`runtime.v1.${service}`).methods[wanted];
    if (!found?.resolvedRequestType || !found.resolvedResponseType) continue;
    const path = `/runtime.${version}.${service}/${wanted}`;
    return { path, input: found.resolvedRequestType, output: found.resolvedResponseType };
  }
  throw new Error(`the interface has no ${wanted}`);
}
