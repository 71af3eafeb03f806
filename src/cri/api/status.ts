/** The failure of an RPC: a gRPC status (https://grpc.io/docs/guides/status-codes/) and a message for people. */
import { status } from '@grpc/grpc-js';
import { KinaError } from '../../host/errors.ts';

type StatusName = Exclude<keyof typeof status, 'OK'>;

export class RpcError extends Error {
  readonly status: StatusName;

  constructor(name: StatusName, message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = 'RpcError';
    this.status = name;
  }
}

/** A feature that this runtime does not support, and the reason. */
export const unsupported = (feature: string, reason: string): RpcError =>
  new RpcError('UNIMPLEMENTED', `${feature} is not supported by kina: ${reason}`);

export const invalid = (message: string): RpcError => new RpcError('INVALID_ARGUMENT', message);

const byCode: Partial<Record<KinaError['code'], StatusName>> = {
  usage: 'INVALID_ARGUMENT',
  'not-found': 'NOT_FOUND',
  network: 'UNAVAILABLE',
  offline: 'UNAVAILABLE',
  integrity: 'DATA_LOSS',
  busy: 'RESOURCE_EXHAUSTED',
  'disk-full': 'RESOURCE_EXHAUSTED',
  interrupted: 'CANCELLED',
};

/** Converts any thrown value to a status. */
export function statusOf(error: unknown): { code: status; details: string } {
  if (error instanceof RpcError) return { code: status[error.status], details: error.message };
  if (error instanceof KinaError) {
    const said = [error.message, ...error.details, ...(error.hint ? [error.hint] : [])].join('; ');
    return { code: status[byCode[error.code] ?? 'UNKNOWN'], details: said };
  }
  return { code: status.UNKNOWN, details: error instanceof Error ? error.message : String(error) };
}
