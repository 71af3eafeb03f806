/**
 * The two services of CRI on a gRPC server, as `runtime.v1` and as `runtime.v1alpha2`: the messages of the old package
 * are a part of the new one's with the same numbers, so the same handlers answer both (kubelets below 1.26 ask for it).
 *
 * A handler takes a decoded request and returns a reply with whatever fields it has; the rest is protobuf's defaults.
 * A thrown error becomes a status. When the caller cancels, the handler's signal is aborted.
 */
import type { handleUnaryCall, Server, ServiceDefinition } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import cri from './cri.json' with { type: 'json' };
import type { ImageServiceCalls, ImageServiceStreams, RuntimeServiceCalls, RuntimeServiceStreams } from './messages.ts';
import { RpcError, statusOf } from './status.ts';

/** A message to send: all fields are optional, and 64-bit numbers can be strings. */
export type Outgoing<T> = T extends number
  ? number | string
  : T extends string | boolean | Uint8Array
    ? T
    : T extends (infer Item)[]
      ? Outgoing<Item>[]
      : { [K in keyof T]?: Outgoing<T[K]> | undefined };

type Unary<Calls> = {
  [K in keyof Calls]: Calls[K] extends [infer Request, infer Reply]
    ? (request: Request, signal: AbortSignal) => Promise<Outgoing<Reply>> | Outgoing<Reply>
    : never;
};
type Streaming<Streams> = {
  [K in keyof Streams]: Streams[K] extends [infer Request, infer Reply]
    ? (request: Request, signal: AbortSignal) => AsyncIterable<Outgoing<Reply>>
    : never;
};

/** Omitted handlers answer `UNIMPLEMENTED`, which CRI clients understand. */
export type RuntimeHandlers = Unary<RuntimeServiceCalls> & Partial<Streaming<RuntimeServiceStreams>>;
export type ImageHandlers = Unary<ImageServiceCalls> & Partial<Streaming<ImageServiceStreams>>;

/** Requests as messages.ts has them. */
const decoded: protobuf.IConversionOptions = { enums: String, longs: Number, defaults: true, arrays: true };

interface Method {
  readonly property: string;
  readonly name: string;
  readonly streams: boolean;
  readonly request: protobuf.Type;
  readonly reply: protobuf.Type;
}

const root = protobuf.Root.fromJSON(cri.root as unknown as protobuf.INamespace);
root.resolveAll();

function methods(service: string): Method[] {
  return root.lookupService(`runtime.v1.${service}`).methodsArray.map((method) => ({
    property: `${method.name[0]?.toLowerCase()}${method.name.slice(1)}`,
    name: method.name,
    streams: method.responseStream === true,
    request: method.resolvedRequestType!,
    reply: method.resolvedResponseType!,
  }));
}

function encode(type: protobuf.Type, message: object): Buffer {
  return Buffer.from(type.encode(type.fromObject(message)).finish());
}

/** How a service looks on the wire; for servers, and for clients in tests. */
export function definition(service: 'RuntimeService' | 'ImageService', api: 'v1' | 'v1alpha2'): ServiceDefinition {
  return Object.fromEntries(
    methods(service).map(({ name, streams, request, reply }) => [
      name,
      {
        path: `/runtime.${api}.${service}/${name}`,
        requestStream: false,
        responseStream: streams,
        requestSerialize: (message: object) => encode(request, message),
        requestDeserialize: (bytes: Buffer) => request.toObject(request.decode(bytes), decoded),
        responseSerialize: (message: object) => encode(reply, message),
        responseDeserialize: (bytes: Buffer) => reply.toObject(reply.decode(bytes), decoded),
      },
    ]),
  );
}

type AnyHandlers = Readonly<Record<string, ((request: object, signal: AbortSignal) => unknown) | undefined>>;

/** What a server has been asked. */
export interface Calls {
  /** Resolves when every call that has begun is answered. Streams, which may have no end, do not count. */
  answered(): Promise<void>;
}

/** `onError` is called for failed calls and unexpected errors, for example to log them. */
export function addServices(
  server: Server,
  runtime: RuntimeHandlers,
  images: ImageHandlers,
  onError: (method: string, error: unknown) => void,
): Calls {
  const running = new Set<Promise<void>>();
  const track = (work: Promise<void>): void => {
    const settled = work.finally(() => running.delete(settled));
    running.add(settled);
  };
  for (const api of ['v1', 'v1alpha2'] as const)
    for (const [service, handlers] of [
      ['RuntimeService', runtime],
      ['ImageService', images],
    ] as const) {
      const implementation = Object.fromEntries(
        methods(service).flatMap((method) => {
          const handler = (handlers as unknown as AnyHandlers)[method.property]?.bind(handlers);
          if (!handler) return [];
          const failed = (error: unknown) => onError(method.name, error);
          return [[method.name, method.streams ? streaming(handler, failed) : unary(handler, failed, track)]];
        }),
      );
      server.addService(definition(service, api), implementation);
    }
  return {
    async answered() {
      while (running.size > 0) await Promise.all(running);
    },
  };
}

type Handler = (request: object, signal: AbortSignal) => unknown;

function unary(
  handler: Handler,
  failed: (error: unknown) => void,
  track: (work: Promise<void>) => void,
): handleUnaryCall<object, object> {
  return (call, callback) => {
    const answer = async (): Promise<void> => {
      const gone = new AbortController();
      call.on('cancelled', () => gone.abort());
      try {
        callback(null, (await handler(call.request, gone.signal)) as object);
      } catch (thrown) {
        const isAbort = thrown instanceof Error && thrown.name === 'AbortError';
        const error = isAbort ? new RpcError('CANCELLED', 'the caller has given up', { cause: thrown }) : thrown;
        failed(error);
        callback(statusOf(error));
      }
    };
    track(answer());
  };
}

function streaming(handler: Handler, failed: (error: unknown) => void) {
  return async (call: import('@grpc/grpc-js').ServerWritableStream<object, object>): Promise<void> => {
    const gone = new AbortController();
    call.on('cancelled', () => gone.abort());
    try {
      for await (const message of handler(call.request, gone.signal) as AsyncIterable<object>) {
        if (call.cancelled) return;
        if (!call.write(message)) await drained(call, gone.signal);
      }
      call.end();
    } catch (error) {
      if (gone.signal.aborted) return;
      failed(error);
      call.emit('error', { ...statusOf(error), metadata: undefined });
    }
  };
}

/** Resolves when there is room for more, or when the caller is gone: a closed call never drains. */
function drained(call: NodeJS.EventEmitter, gone: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const resume = (): void => {
      call.off('drain', resume);
      gone.removeEventListener('abort', resume);
      done();
    };
    call.once('drain', resume);
    if (gone.aborted) resume();
    else gone.addEventListener('abort', resume);
  });
}
