/** ImageService: each RPC as one call to the library of images. */
import type { AuthConfig, Image } from '../api/messages.ts';
import type { ImageHandlers, Outgoing } from '../api/services.ts';
import { invalid } from '../api/status.ts';
import type { CriImage, ImageLibrary, PullCredentials } from './library.ts';

export function imageService(images: ImageLibrary): ImageHandlers {
  return {
    pullImage: async ({ image, auth }, signal) => {
      if (!image?.image) throw invalid('the image to pull is not named');
      return { imageRef: await images.pull(image.image, credentials(auth), signal) };
    },
    imageStatus: async ({ image, verbose }) => {
      if (!image?.image) throw invalid('the image is not named');
      const found = await images.status(image.image);
      if (!found) return {};
      return { image: described(found), info: verbose ? { info: JSON.stringify(found) } : {} };
    },
    listImages: async ({ filter }) => ({
      images: (await images.list(filter?.image?.image || undefined)).map(described),
    }),
    streamImages: async function* ({ filter }) {
      for (const image of await images.list(filter?.image?.image || undefined)) yield { images: [described(image)] };
    },
    removeImage: async ({ image }) => {
      if (!image?.image) throw invalid('the image to remove is not named');
      await images.remove(image.image);
      return {};
    },
    imageFsInfo: async () => {
      const { mountpoint, usedBytes, inodesUsed } = await images.fsInfo();
      const usage = {
        timestamp: `${BigInt(Date.now()) * 1_000_000n}`,
        fsId: { mountpoint },
        usedBytes: { value: usedBytes },
        inodesUsed: { value: inodesUsed },
      };
      return { imageFilesystems: [usage], containerFilesystems: [usage] };
    },
  };
}

function credentials(auth: AuthConfig | null): PullCredentials | undefined {
  return auth && Object.values(auth).some(Boolean) ? auth : undefined;
}

function described({ id, repoTags, repoDigests, size, user, pinned }: CriImage): Outgoing<Image> {
  const { uid, username = '' } = user;
  return {
    id,
    repoTags,
    repoDigests,
    size,
    pinned,
    username,
    uid: uid === undefined ? undefined : { value: uid },
    spec: { image: id },
  };
}
