import { connect } from 'node:http2';
import { createConnection, createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { codedLength, mendAuthority, withoutBadAuthority } from '../../../src/cri/api/authority.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('characters of Huffman-coded strings', () => {
  // RFC 7541, appendix C.4 and C.6
  it.each([
    ['f1e3 c2e5 f23a 6ba0 ab90 f4ff', 'www.example.com'],
    ['a8eb 1064 9cbf', 'no-cache'],
    ['6402', '302'],
    ['d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff', 'Mon, 21 Oct 2013 20:13:21 GMT'],
  ])('%s is %s', (coded, text) => {
    expect(codedLength(hex(coded))).toBe(text.length);
  });

  it('a string with wrong padding, or with its end inside, is invalid', () => {
    expect(codedLength(hex('f1e3 c2e5 f23a 6ba0 ab90 f400'))).toBeUndefined();
    expect(codedLength(hex('ffff ffff ffff'))).toBeUndefined();
  });
});

describe('header blocks', () => {
  it('with a path for an authority get a value of the same length', () => {
    // POST, http, :path /x, :authority /run/x.sock
    const block = Buffer.concat([
      hex('83 86 44 02'),
      Buffer.from('/x'),
      hex('41 0b'),
      Buffer.from('/run/x.sock'),
      hex('88'),
    ]);
    const mended = withoutBadAuthority(block)!;
    expect(mended.toString('latin1')).toContain('xxxxxxxxxxx');
    expect(mended.length).toBe(block.length);
  });

  it('a coded one becomes a plain one, also when that needs a longer length', () => {
    const coded = Buffer.alloc(100, 0x18); // some characters of five and six bits
    const length = codedLength(coded)!;
    expect(length).toBeGreaterThan(127);
    const mended = withoutBadAuthority(Buffer.concat([hex('41 e4'), coded]))!;
    expect(mended.subarray(0, 3)).toEqual(Buffer.from([0x41, 127, length - 127]));
    expect(mended.subarray(3).toString()).toBe('x'.repeat(length));
  });

  it('with an authority that is one, or none written out, stay as they are', () => {
    expect(withoutBadAuthority(Buffer.concat([hex('41 09'), Buffer.from('localhost')]))).toBeUndefined();
    expect(withoutBadAuthority(hex('83 86 be 3f e1 1f 40 01 61 01 62'))).toBeUndefined();
    expect(withoutBadAuthority(hex('41 ff'))).toBeUndefined();
  });
});

// What matters is what Node's own implementation accepts, request after request on one connection.
it('a client that sends the socket’s path is answered, as often as it asks', async () => {
  const { createServer: createHttp2 } = await import('node:http2');
  const inner = createHttp2();
  inner.on('stream', (stream, headers) =>
    stream.respond({ ':status': 200, seen: String(headers[':authority']) }, { endStream: true }),
  );
  const outer = createServer((socket) => inner.emit('connection', mendAuthority(socket)));
  await new Promise<void>((done) => outer.listen(0, '127.0.0.1', done));
  const { port } = outer.address() as { port: number };
  // Node's client writes the authority as it is told, without a look at it
  const client = connect('http://localhost', { createConnection: () => createConnection(port, '127.0.0.1') });
  const ask = (authority: string, extra: string) =>
    new Promise((resolve, reject) => {
      const request = client.request({ ':authority': authority, ':path': '/', extra }, { endStream: true });
      request.once('response', (headers) => resolve(headers.seen)).once('error', reject);
      request.resume();
    });
  // more than the table of earlier headers holds, so that the authority is written out again
  for (let i = 0; i < 300; i++) expect(await ask('/var/run/kina-cri.sock', `${i} `.repeat(20))).toBe('x'.repeat(22));
  client.close();
  outer.close();
});
