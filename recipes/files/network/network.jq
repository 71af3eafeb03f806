# What the agent reads out of the API server's answers, and what it makes of them. A list of nodes is a list of `facts`;
# NODE_NAME is the node that it runs on.

# Of a Node: what matters to the network. podCIDRs holds both families of a dual-stack node.
def facts: {
  name: .metadata.name,
  ranges: (.spec.podCIDRs // [.spec.podCIDR // empty]),
  addresses: [.status.addresses[]? | select(.type == "InternalIP").address]
};

def family: if contains(":") then 6 else 4 end;

# Of a NodeList: what to watch from, and the nodes in an order that does not change.
def listed: select(.kind == "NodeList") | {
  version: .metadata.resourceVersion,
  nodes: [.items[] | facts] | sort_by(.name)
};

# Of an event: whether it changes what is known.
def news($known): select(.object.kind == "Node")
  | select(.type == "DELETED" or (.object | facts | . as $now | any($known[]; . == $now) | not));

def this_node: .[] | select(.name == $ENV.NODE_NAME);
def own_ranges: this_node.ranges[];
def own_address: first(this_node.addresses[]);

# `RANGE ADDRESS` for every other node that has an address of the range's family.
def routes($wanted): .[] | select(.name != $ENV.NODE_NAME) | .addresses as $addresses
  | .ranges[] | select(family == $wanted) | . as $range
  | first($addresses[] | select(family == $wanted)) | "\($range) \(.)";

# Lines as iptables prints them.
def masquerade($wanted; $chain): select(any(own_ranges; family == $wanted)) |
  ([.[].ranges[] | select(family == $wanted)] | sort | .[] | "-A \($chain) -d \(.) -j RETURN"),
  (own_ranges | select(family == $wanted) | "-A \($chain) -s \(.) -j MASQUERADE");

# CNI configuration. $mtu: null leaves it to the plugin. The leases lie on a tmpfs: after a restart there are no pods.
def conflist($mtu): [own_ranges] as $own | {
  cniVersion: "0.3.1",
  name: "kina",
  plugins: [
    ({
      type: "ptp",
      ipMasq: false,
      ipam: {
        type: "host-local",
        dataDir: "/run/cni-ipam-state",
        ranges: [$own[] | [{ subnet: . }]],
        routes: [$own[] | { dst: (if family == 6 then "::/0" else "0.0.0.0/0" end) }]
      }
    } + if $mtu then { mtu: $mtu } else {} end),
    { type: "portmap", capabilities: { portMappings: true } }
  ]
};
