#!/usr/bin/env bash
# First process of a machine: machine-init.sh NAME IP node|gateway [ARG...]. Sets up its side of the network and keeps its daemons running.
set -euo pipefail
HACK=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=config.sh
. "$HACK/local/config.sh"
NAME=$1 IP=$2 ROLE=$3

main() {
  hostname "$NAME"
  mount --make-rshared /                   # within this mount namespace: kubelet and containerd ask for it
  mount -t tmpfs tmpfs /run                # sockets, pods' network namespaces, runc's state
  until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
  ip link set lo up
  ip addr add "$IP/${MACHINE_NET#*/}" dev eth0
  ip link set eth0 up
  ip route add default via "$HOST_IP"
  local i
  for ((i = 1; i <= MAX_NODES; i++)); do
    if [[ $(node_ip "$i") != "$IP" ]]; then ip route add "$(node_pods "$i")" via "$(node_ip "$i")"; fi
  done
  sysctl -qw net.ipv4.ip_forward=1
  # Packets to a service come in and go out by the same wire; the redirects for that would teach others a way around the translation.
  sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0
  "run_$ROLE"
  keep kube-proxy "$BIN/kube-proxy" --kubeconfig="$PKI/proxy.kubeconfig" --hostname-override="$PROXY_NODE" \
    --proxy-mode=nftables --cluster-cidr="$POD_NET" \
    --conntrack-max-per-core=0 --conntrack-min=0 --conntrack-tcp-timeout-established=0s --conntrack-tcp-timeout-close-wait=0s
  wait                                     # and reap, as the first process has to
}

keep() { # keep NAME COMMAND...: starts it again a second after it ends, as systemd would
  local log=$LOGS/$NAME-$1.log
  shift
  (while true; do "$@" >>"$log" 2>&1 || true; sleep 1; done) &
}

run_gateway() { PROXY_NODE=$(node_name 1); }   # kube-proxy wants some node that exists, for its addresses

run_node() {
  local mine=$STATE/$NAME tries=0 tar
  PROXY_NODE=$NAME
  mount --bind "$mine/containerd" /var/lib/containerd
  mount --bind "$mine/kubelet" /var/lib/kubelet
  mount --bind "$mine/podlogs" /var/log/pods
  mount --bind "$mine/cni" /etc/cni/net.d
  mount -t tmpfs tmpfs /var/log/containers
  mount -t tmpfs tmpfs /var/lib/cni
  # Traffic between two pods of a node has to pass the service rules as well.
  sysctl -qw net.bridge.bridge-nf-call-iptables=1
  keep containerd containerd --config "$HACK/local/conf/containerd.toml"
  export CONTAINERD_NAMESPACE=k8s.io
  until ctr version >/dev/null 2>&1; do
    if ((++tries > 300)); then echo "containerd does not answer; see $LOGS/$NAME-containerd.log" >&2; exit 1; fi
    sleep 0.1
  done
  if [[ ! -d /var/lib/kubelet/pods ]]; then forget_containers; fi
  for tar in "$IMAGES"/*.tar; do bash "$HACK/local/import-image.sh" "$tar"; done
  keep kubelet "$BIN/kubelet" --config="$mine/kubelet.yaml" --kubeconfig="$PKI/$NAME.kubeconfig" \
    --hostname-override="$NAME" --node-ip="$IP" --node-labels="rayfleet.local/node=$NAME"
}

forget_containers() { # a new cluster knows nothing of the last one's; only the images are worth keeping
  local id
  for id in $(ctr containers ls -q); do ctr containers rm "$id" || true; done
}

main
