/** One kina among many: `worker.ts merge|remove|churn NAME`, on the kubeconfig of the environment. */
import { clusterKubeconfig } from '../../../src/cluster/kubeconfig/admin.ts';
import { mergeKubeconfig, removeFromKubeconfig } from '../../../src/cluster/kubeconfig/kubeconfig.ts';
import { adminConf } from './admin-conf.ts';

const [action, name = ''] = process.argv.slice(2);
const merge = () => mergeKubeconfig(clusterKubeconfig(adminConf, { name, server: 'https://127.0.0.1:6443' }));

if (action === 'merge') await merge();
else if (action === 'remove') await removeFromKubeconfig(name);
else
  for (;;) {
    await merge();
    process.stdout.write('.');
    await removeFromKubeconfig(name);
  }
