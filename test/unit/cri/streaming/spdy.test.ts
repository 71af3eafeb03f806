/** SPDY/3.1 as bytes, against what crictl 1.36 (moby/spdystream) sends and against Node's own zlib. */
import { createHash } from 'node:crypto';
import { createDeflate, createInflate, constants as zlib } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { dictionary } from '../../../../src/cri/streaming/spdy/dictionary.ts';
import {
  controlFrame,
  dataHeader,
  type SpdyFrame,
  SpdyFrameReader,
} from '../../../../src/cri/streaming/spdy/frames.ts';
import { HeaderReader, HeaderWriter } from '../../../../src/cri/streaming/spdy/headers.ts';

/** `crictl exec -i`: opens error, stdin and stdout, sends a line, half-closes; then resets all and says goodbye. */
const recordedExec = Buffer.from(
  [
    '80030001000000290000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff',
    '800300010000001700000003000000000000c22e555c92929907000000ffff',
    '800300010000001900000005000000000000c22ac5565c92925f5a02000000ffff',
    '00000003000000046162630a0000000301000000',
    '80030003000000080000000100000005800300030000000800000003000000058003000300000008000000050000000580030007000000080000000700000000',
  ].join(''),
  'hex',
);
/** `crictl port-forward`: an error stream, half-closed at once, and its data stream. */
const recordedForward = Buffer.from(
  [
    '80030001000000400000000100000000000078f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45a024cc6a68616e6ec9c0c0c0590489c74c50fa663400000000ffff',
    '0000000101000000',
    '800300010000001800000003000000000000c2aa1b54102512a119000000ffff',
  ].join(''),
  'hex',
);

/** Frames without header compression: data pieces joined, header blocks read. */
async function readAll(bytes: Buffer, step: number): Promise<unknown[]> {
  const frames = new SpdyFrameReader();
  const headers = new HeaderReader();
  const seen: unknown[] = [];
  let data = '';
  for (let at = 0; at < bytes.length; at += step)
    for (const frame of frames.push(bytes.subarray(at, at + step))) {
      if (frame.kind === 'data') {
        data += frame.payload.toString();
        if (frame.fin) seen.push(`data ${frame.stream} ${data.trim()} end`);
      } else if (frame.type === 1) {
        const block = await headers.read(frame.body.subarray(10));
        seen.push({ open: frame.body.readUInt32BE(0), ...Object.fromEntries(block) });
      } else seen.push(`control ${frame.type} ${frame.body.toString('hex')}`);
    }
  headers.close();
  return seen;
}

function one(reader: SpdyFrameReader, bytes: Buffer): SpdyFrame[] {
  return [...reader.push(bytes)];
}

describe('the dictionary', () => {
  test('is the one of SPDY/3, to the byte', () => {
    expect(dictionary.length).toBe(1423);
    expect(createHash('sha256').update(dictionary).digest('hex')).toBe(
      '51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02',
    );
    let [a, b] = [1, 0];
    for (const byte of dictionary) {
      a = (a + byte) % 65521;
      b = (b + a) % 65521;
    }
    expect((b * 65536 + a).toString(16)).toBe('e3c6a7c2');
  });
});

describe('frames of a real client', () => {
  test.each([1, 2, 7, 8, 13, 4096])('are found when %i bytes come at a time', async (step) => {
    expect(await readAll(recordedExec, step)).toEqual([
      { open: 1, streamtype: 'error' },
      { open: 3, streamtype: 'stdin' },
      { open: 5, streamtype: 'stdout' },
      'data 3 abc end',
      'control 3 0000000100000005',
      'control 3 0000000300000005',
      'control 3 0000000500000005',
      'control 7 0000000700000000',
    ]);
    expect(await readAll(recordedForward, step)).toEqual([
      { open: 1, streamtype: 'error', port: '18779', requestid: '0' },
      'data 1  end',
      { open: 3, streamtype: 'data', port: '18779', requestid: '0' },
    ]);
  });
});

describe('frames', () => {
  test('a data frame is handed on as it arrives, its end only with the last byte', () => {
    const reader = new SpdyFrameReader();
    const frame = Buffer.concat([dataHeader(5, 10, true), Buffer.from('0123456789')]);
    expect(one(reader, frame.subarray(0, 12))).toMatchObject([{ kind: 'data', stream: 5, fin: false }]);
    expect(one(reader, frame.subarray(12))).toMatchObject([{ kind: 'data', stream: 5, fin: true }]);
  });

  test('an empty data frame at the end of a chunk is not held back', () => {
    const frames = one(new SpdyFrameReader(), Buffer.concat([controlFrame(6, [1]), dataHeader(3, 0, true)]));
    expect(frames).toMatchObject([{ type: 6 }, { kind: 'data', stream: 3, fin: true }]);
  });

  test('lengths use all 24 bits, flags only their eight', () => {
    expect(dataHeader(1, 0xffffff).toString('hex')).toBe('0000000100ffffff');
    expect(dataHeader(0x7fffffff, 1, true).toString('hex')).toBe('7fffffff01000001');
  });

  test('another version and an endless control frame are refused before anything is kept', () => {
    expect(() => one(new SpdyFrameReader(), Buffer.from('8002000100000000', 'hex'))).toThrow('SPDY version 2, not 3');
    expect(() => one(new SpdyFrameReader(), Buffer.from('8003000100ffffff', 'hex'))).toThrow('has 16777215 bytes');
    expect(() => one(new SpdyFrameReader(), Buffer.from('GET / HTTP/1.1\r\n\r\n'))).not.toThrow(); // a data frame, to its looks
  });
});

describe('header blocks', () => {
  /** A client's blocks, by Node's zlib. */
  function blocks(): (bytes: Buffer) => Promise<Buffer> {
    const deflate = createDeflate({ dictionary, flush: zlib.Z_SYNC_FLUSH });
    return async (bytes) => {
      const pieces: Buffer[] = [];
      const keep = (piece: Buffer) => pieces.push(piece);
      deflate.on('data', keep);
      await new Promise((done) => deflate.write(bytes, done));
      deflate.off('data', keep);
      return Buffer.concat(pieces);
    };
  }
  const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

  test('what is written can be read by zlib, one block after the other', async () => {
    const writer = new HeaderWriter();
    const inflate = createInflate({ dictionary });
    const pieces: Buffer[] = [];
    inflate.on('data', (piece: Buffer) => pieces.push(piece));
    for (const headers of [new Map(), new Map([['status', '200 OK']]), new Map()])
      await new Promise((done) => inflate.write(writer.write(headers), done));
    expect(Buffer.concat(pieces).toString('hex')).toBe(
      `00000000${'00000001'}00000006${Buffer.from('status').toString('hex')}00000006${Buffer.from('200 OK').toString('hex')}00000000`,
    );
  });

  test('and by its own reader', async () => {
    const [writer, reader] = [new HeaderWriter(), new HeaderReader()];
    for (const headers of [{ streamtype: 'error' }, {}, { port: '80', requestid: 'ä' }])
      expect(Object.fromEntries(await reader.read(writer.write(new Map(Object.entries(headers)))))).toEqual(headers);
    reader.close();
  });

  test.each([
    ['is cut off in a count', '000000'],
    ['is cut off in a length', '00000001 0000'],
    ['is cut off in a name', '00000001 000000ff 61'],
    ['promises more headers than it has', '7fffffff 00000001 61 00000000'],
  ])('a block that %s is refused', async (_what, text) => {
    await expect(new HeaderReader().read(await blocks()(hex(text)))).rejects.toThrow('is cut off');
  });

  test('a name that comes twice is refused, as the specification asks', async () => {
    const twice = '00000002 00000001 61 00000000 00000001 61 00000000';
    await expect(new HeaderReader().read(await blocks()(hex(twice)))).rejects.toThrow('a twice');
  });

  test('a small block that unpacks to megabytes is refused before they are in memory', async () => {
    const bomb = await blocks()(Buffer.alloc(8 << 20));
    expect(bomb.length).toBeLessThan(16 << 10);
    await expect(new HeaderReader().read(bomb)).rejects.toThrow('unpacks to more than 65536 bytes');
  });

  test('a stream with another dictionary, and one that was ended, are refused', async () => {
    await expect(new HeaderReader().read(hex('78bb00000001 0000'))).rejects.toThrow(/dictionary/);
    const reader = new HeaderReader();
    expect(await reader.read(hex('78bbe3c6a7c2 010400fbff00000000 00040001'))).toEqual(new Map());
    await expect(reader.read(hex('000400fbff00000000'))).rejects.toThrow();
  });

  test('closing ends a read that waits', async () => {
    const reader = new HeaderReader();
    const reading = reader.read(Buffer.alloc(0));
    reader.close();
    await expect(reading).rejects.toThrow();
  });
});
