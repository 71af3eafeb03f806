import { kubeletSettings, kubeletText } from '../../cri/kubelet.ts';
import { socketPath } from '../../cri/socket.ts';
import { answer, answerJson } from '../terminal/context.ts';

interface KubeletFlags {
  readonly socket: string;
  readonly kubernetes: string;
  readonly json: boolean;
}

export async function run({ socket, kubernetes, json }: KubeletFlags): Promise<void> {
  const settings = kubeletSettings(`unix://${socketPath(socket)}`, kubernetes);
  if (json) return answerJson(settings);
  answer(kubeletText(settings));
}
