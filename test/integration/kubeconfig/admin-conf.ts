/** What kubeadm writes: the order, the names and the indentation are its own; the credentials mean nothing. */
const data = (text: string) => Buffer.from(`-----BEGIN ${text}-----\n${'x'.repeat(900)}`).toString('base64');

export const adminConf = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${data('CERTIFICATE')}
    server: https://c-control-plane:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
kind: Config
preferences: {}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: ${data('CERTIFICATE')}
    client-key-data: ${data('RSA PRIVATE KEY')}
`;
