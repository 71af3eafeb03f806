/** Enforces who may import whom (docs/architecture.md, "Rooms"): data goes one way, rooms stay apart. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';

const allowed: Readonly<Record<string, readonly string[]>> = {
  cli: [
    'ops',
    'session',
    'build',
    'cluster',
    'cri',
    'layers',
    'debian',
    'tree',
    'artifacts',
    'oci',
    'provider',
    'host',
  ],
  // The library: use cases and what their options and results are made of.
  'index.ts': ['ops', 'session', 'cluster', 'oci', 'host'],
  ops: ['session', 'build', 'cluster', 'cri', 'layers', 'provider', 'oci', 'artifacts', 'host'],
  build: ['session', 'layers', 'artifacts', 'oci', 'host'],
  cluster: ['provider', 'oci', 'host'],
  cri: ['session', 'provider', 'layers', 'tree', 'oci', 'host'],
  layers: ['session', 'debian', 'tree', 'artifacts', 'oci', 'host'],
  session: ['debian', 'tree', 'artifacts', 'oci', 'host'],
  debian: ['tree', 'artifacts', 'host'],
  artifacts: ['oci', 'host'],
  tree: ['host'],
  oci: ['host'],
  provider: ['host'],
  host: [],
};

const root = resolve(import.meta.dirname, '..', 'src');
const problems: string[] = [];
const graph = new Map<string, string[]>();

for (const file of readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts'))) {
  const room = file.split(sep)[0] ?? '';
  if (!(room in allowed)) problems.push(`src/${file}: src/${room} is not a known folder`);
  const text = readFileSync(join(root, file), 'utf8');
  if (text.includes('process.env') && file !== join('host', 'environment.ts'))
    problems.push(`src/${file}: take an Environment; only src/host/environment.ts reads process.env`);
  const imports: string[] = [];
  for (const match of text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
    const target = relative(root, resolve(root, dirname(file), match[1] as string));
    if (target.startsWith('..')) continue;
    imports.push(target);
    const other = target.split(sep)[0] ?? '';
    if (other !== room && !allowed[room]?.includes(other))
      problems.push(`src/${file} imports src/${target}: ${room} may not import ${other}`);
  }
  graph.set(file, imports);
}

/** Files that import each other in a circle cannot be understood one at a time. */
const state = new Map<string, 'open' | 'done'>();
function visit(file: string, path: readonly string[]): void {
  if (state.get(file) === 'done') return;
  if (state.get(file) === 'open') {
    problems.push(`import cycle: ${[...path.slice(path.indexOf(file)), file].join(' -> ')}`);
    return;
  }
  state.set(file, 'open');
  for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
  state.set(file, 'done');
}
for (const file of graph.keys()) visit(file, []);

if (problems.length > 0) {
  console.error(problems.join('\n'));
  process.exit(1);
}
console.log(`imports: ${graph.size} files keep the rules`);
