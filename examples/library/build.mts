/** Builds an image with kina as a library, with its progress on standard error. Run: node build.mts RECIPE FOLDER */
import { buildImage, KinaError, openSession, parsePlatform, type Reporter, silent } from 'kina';

const [recipe = 'minimal', folder = 'layout'] = process.argv.slice(2);

const reporter: Reporter = {
  ...silent,
  warn: (message) => console.error(`WARNING: ${message}`),
  task: (kind, title) => ({ progress() {}, done: () => console.error(`${kind}: ${title}`), fail() {} }),
};

try {
  const session = await openSession({ reporter });
  const built = await buildImage({
    ...session,
    recipe,
    platforms: [parsePlatform('linux/arm64')],
    outputs: [{ type: 'oci', dest: folder }],
  });
  console.log(JSON.stringify({ names: built.names, digest: built.index.digest }));
} catch (error) {
  if (!(error instanceof KinaError)) throw error;
  console.error(`${error.code}: ${error.message}`, error.hint ?? '');
  process.exitCode = 1;
}
