import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { kubeletSettings, kubeletText } from '../../../src/cri/kubelet.ts';
import { socketPath } from '../../../src/cri/socket.ts';
import { hostsFile, resolverConfiguration } from '../../../src/cri/spec/pod-files.ts';

const endpoint = 'unix:///run/kina.sock';

describe('kubelet-config', () => {
  it('from 1.27 on the file has the endpoint', () => {
    const settings = kubeletSettings(endpoint, 'v1.34.2');
    expect(settings.flags).toEqual([]);
    expect(parse(kubeletText(settings))).toEqual({
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      containerRuntimeEndpoint: endpoint,
      imageServiceEndpoint: endpoint,
      cgroupDriver: 'cgroupfs',
    });
  });

  it.each([
    ['v1.26.9', [`--container-runtime-endpoint=${endpoint}`, `--image-service-endpoint=${endpoint}`]],
    [
      '1.20',
      [
        '--container-runtime=remote',
        `--container-runtime-endpoint=${endpoint}`,
        `--image-service-endpoint=${endpoint}`,
      ],
    ],
  ])('%s takes flags', (version, flags) => {
    const settings = kubeletSettings(endpoint, version);
    expect(settings.flags).toEqual(flags);
    // an older kubelet refuses a file with a key that it does not know
    expect(settings.configuration).not.toHaveProperty('containerRuntimeEndpoint');
    for (const flag of flags) expect(kubeletText(settings)).toContain(`#   ${flag}\n`);
  });

  it('a version is a version', () => {
    expect(() => kubeletSettings(endpoint, 'latest')).toThrow('--kubernetes latest: expected a version');
  });
});

describe('the socket', () => {
  it('is a path or a URL', () => {
    expect(socketPath('unix:///run/x.sock')).toBe('/run/x.sock');
    expect(socketPath('/run/x.sock')).toBe('/run/x.sock');
  });

  it('is absolute, local, and short enough for the kernel', () => {
    expect(() => socketPath('x.sock')).toThrow('expected an absolute path');
    expect(() => socketPath('tcp://127.0.0.1:1')).toThrow('expected an absolute path');
    expect(() => socketPath(`/${'x'.repeat(110)}`)).toThrow('longer than 107 bytes');
  });
});

describe('files of a pod', () => {
  it('resolv.conf has what the pod says, or nothing at all', () => {
    expect(resolverConfiguration({ servers: ['10.96.0.10'], searches: ['a.svc', 'svc'], options: ['ndots:5'] })).toBe(
      'search a.svc svc\nnameserver 10.96.0.10\noptions ndots:5\n',
    );
    expect(resolverConfiguration({ servers: [], searches: [], options: [] })).toBeUndefined();
  });

  it('hosts names the pod by each of its addresses', () => {
    expect(hostsFile(['10.0.0.2', 'fd00::2'], 'web').split('\n').slice(2)).toEqual([
      '10.0.0.2\tweb',
      'fd00::2\tweb',
      '',
    ]);
  });
});
