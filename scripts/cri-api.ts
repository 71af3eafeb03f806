/**
 * Makes src/cri/api/cri.json and src/cri/api/messages.ts from the published definition of the Container Runtime Interface:
 *
 *   node scripts/cri-api.ts path/to/cri-api/pkg/apis/runtime/v1/api.proto v0.36.3
 *
 * The JSON has the names, numbers and types of everything on the wire and nothing else; the service reads it when it
 * starts. `--check` makes messages.ts from the JSON that is there and compares.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';

const folder = join(import.meta.dirname, '..', 'src', 'cri', 'api');
const descriptor = join(folder, 'cri.json');
const types = join(folder, 'messages.ts');

const scalars: Readonly<Record<string, string>> = {
  string: 'string',
  bool: 'boolean',
  bytes: 'Uint8Array',
  double: 'number',
  float: 'number',
  int32: 'number',
  uint32: 'number',
  int64: 'number',
  uint64: 'number',
};

function fieldType(field: protobuf.Field): string {
  const { resolvedType } = field.resolve();
  const one = scalars[field.type] ?? resolvedType?.name ?? field.type;
  if (field.map) return `Record<string, ${one}>`;
  if (field.repeated) return `${one}[]`;
  return resolvedType instanceof protobuf.Type ? `${one} | null` : one;
}

function declaration(object: protobuf.ReflectionObject): string {
  if (object instanceof protobuf.Enum) {
    const names = Object.keys(object.values).map((name) => `'${name}'`);
    return `export type ${object.name} = ${names.join(' | ')};\n`;
  }
  if (!(object instanceof protobuf.Type)) return '';
  const inner = object.nestedArray.map((nested) => `${declaration(nested)}\n`).join('');
  const fields = object.fieldsArray.map((field) => `  ${field.name}: ${fieldType(field)};\n`);
  if (fields.length === 0) return `${inner}export type ${object.name} = Record<never, never>;\n`;
  return `${inner}export interface ${object.name} {\n${fields.join('')}}\n`;
}

function service(object: protobuf.Service): string {
  const kinds = { unary: '', streaming: '' };
  for (const method of object.methodsArray) {
    const line = `  ${method.name[0]?.toLowerCase()}${method.name.slice(1)}: [${method.requestType}, ${method.responseType}];\n`;
    if (method.responseStream) kinds.streaming += line;
    else kinds.unary += line;
  }
  const calls = `export interface ${object.name}Calls {\n${kinds.unary}}\n`;
  return kinds.streaming ? `${calls}\nexport interface ${object.name}Streams {\n${kinds.streaming}}\n` : calls;
}

function messages(json: { version: string; sha256: string; root: protobuf.INamespace }): string {
  const root = protobuf.Root.fromJSON(json.root);
  root.resolveAll();
  const { nested = {} } = root.lookup('runtime.v1') as protobuf.Namespace;
  const objects = Object.values(nested);
  return `${[
    '/**',
    ` * The messages of the Container Runtime Interface, runtime.v1, as kina decodes them: made by scripts/cri-api.ts from`,
    ` * cri-api ${json.version}, do not edit. Enums are names, 64-bit integers numbers, absent messages null.`,
    ' */',
    '',
    ...objects.map((object) => (object instanceof protobuf.Service ? service(object) : declaration(object))),
  ].join('\n')}`;
}

const [source, version = ''] = process.argv.slice(2);
if (source && source !== '--check') {
  const text = readFileSync(source, 'utf8');
  const { root } = protobuf.parse(text, { keepCase: false });
  const sha256 = createHash('sha256').update(text).digest('hex');
  writeFileSync(descriptor, `${JSON.stringify({ version, sha256, root: root.toJSON() }, null, 1)}\n`);
}
const text = messages(JSON.parse(readFileSync(descriptor, 'utf8')));
if (source === '--check') {
  if (readFileSync(types, 'utf8') !== text) {
    console.error('src/cri/api/messages.ts is not what scripts/cri-api.ts makes of cri.json: run it');
    process.exit(1);
  }
} else writeFileSync(types, text);
