/** Answers `file:` URLs like an HTTP server, so that local files take the same path as downloads. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { isErrno, KinaError } from './errors.ts';

export interface FileAnswer {
  /** 200, or 404 if the file does not exist. */
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Readable;
}

/** Throws `usage` for a folder, for a URL that names another host and for an unreadable file. */
export async function answerFile(url: string, method: string): Promise<FileAnswer> {
  let path: string;
  try {
    path = fileURLToPath(url);
  } catch (error) {
    throw new KinaError('usage', `${url} is not a local file`, {
      hint: 'Write file:///ABSOLUTE/PATH.',
      cause: error,
    });
  }
  try {
    const found = await stat(path);
    if (!found.isFile()) throw new KinaError('usage', `${path} is not a regular file`, { hint: 'Name a file.' });
    const etag = `"${found.size.toString(16)}-${Math.floor(found.mtimeMs).toString(16)}"`;
    return {
      status: 200,
      headers: { 'content-length': String(found.size), etag },
      body: method === 'HEAD' ? Readable.from([]) : createReadStream(path, { highWaterMark: 1 << 18 }),
    };
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return { status: 404, headers: {}, body: Readable.from([]) };
    if (isErrno(error, 'EACCES', 'EPERM'))
      throw new KinaError('usage', `${path} cannot be read`, { hint: 'Check its permissions.', cause: error });
    throw error;
  }
}
