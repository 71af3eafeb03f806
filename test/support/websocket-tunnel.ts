/**
 * The client's side of SPDY through WebSocket, for tests: bytes become masked binary messages and back (RFC 6455, 5.2).
 * By hand, because the protocol's name, `SPDY/3.1+portforward.k8s.io`, is one that WebSocket libraries refuse.
 */
import { randomBytes } from 'node:crypto';
import { Duplex } from 'node:stream';
import { upgrade } from './spdy-client.ts';

/** What a client asks with. */
export const webSocketHeaders = (protocol: string): Record<string, string> => ({
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': randomBytes(16).toString('base64'),
  'sec-websocket-protocol': protocol,
});

/** A connection to the server, of bytes; each write of more than `cut` bytes becomes several messages. */
export async function openTunnel(url: string, cut: number): Promise<Duplex> {
  const protocol = 'SPDY/3.1+portforward.k8s.io';
  const { response, socket, head } = await upgrade(url, webSocketHeaders(protocol), 'GET');
  if (!socket) throw new Error(`refused with ${response.statusCode}`);
  if (response.headers['sec-websocket-protocol'] !== protocol) throw new Error('another protocol was chosen');
  socket.unshift(head);
  let rest = Buffer.alloc(0);
  const tunnel = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      for (let at = 0; at < chunk.length; at += cut) socket.write(message(chunk.subarray(at, at + cut)));
      done();
    },
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  socket.on('error', () => {});
  socket.once('close', () => tunnel.destroy());
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    for (let next = unpack(rest); next; next = unpack(rest)) {
      rest = rest.subarray(next.size);
      if (next.opcode === 2) tunnel.push(next.payload);
      else if (next.opcode === 8) socket.end(message(next.payload, 8));
    }
  });
  return tunnel;
}

function message(payload: Buffer, opcode = 2): Buffer {
  const mask = randomBytes(4);
  const length = payload.length < 126 ? Buffer.of(0x80 | payload.length) : Buffer.alloc(9, 0xff);
  if (payload.length >= 126) length.writeBigUInt64BE(BigInt(payload.length), 1);
  const masked = Buffer.from(payload.map((byte, index) => byte ^ mask[index % 4]!));
  return Buffer.concat([Buffer.of(0x80 | opcode), length, mask, masked]);
}

/** A whole message from the server, which does not mask. */
function unpack(bytes: Buffer): { opcode: number; payload: Buffer; size: number } | undefined {
  if (bytes.length < 2) return undefined;
  const short = bytes[1]!;
  const start = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (bytes.length < start) return undefined;
  const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (bytes.length < start + length) return undefined;
  return { opcode: bytes[0]! & 15, payload: bytes.subarray(start, start + length), size: start + length };
}
