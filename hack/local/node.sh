# Kubernetes nodes on machines: their configuration, readiness, rack labels and logical GPUs.
# shellcheck shell=bash

start_node() { # start_node INDEX
  local name ip dir
  name=$(node_name "$1") ip=$(node_ip "$1")
  dir=$STATE/$name
  mkdir -p "$dir"/{containerd,kubelet,cni,podlogs}
  sed "s#@SUBNET@#$(node_pods "$1")#" "$HACK/local/conf/cni.conflist" >"$dir/cni/10-rayfleet.conflist"
  sed "s#@IP@#$ip#; s#@CGROUP@#/$CGROUP/$name#; s#@DNS@#$HOST_IP#; s#@CA@#$PKI/ca.crt#" "$HACK/local/conf/kubelet.yaml" >"$dir/kubelet.yaml"
  rm -f "$LOGS/$name"-*.log
  start_machine "$name" "$ip" node
  ip route replace "$(node_pods "$1")" via "$ip"
}

start_nodes() { # start_nodes INDEX...: those that do not run
  local i name
  for i; do
    name=$(node_name "$i")
    if ! is_running "$name"; then
      kill_machine "$name"                     # whatever an earlier life left behind
      start_node "$i"
    fi
  done
  if ! is_running "$GATEWAY"; then
    kill_machine "$GATEWAY"
    start_machine "$GATEWAY" "$GATEWAY_IP" gateway
  fi
}

node_table() { # name, Ready, time of the kubelet's last full report, GPUs of the capacity, GPUs allocatable, rack
  local gpu='nvidia\.com/gpu'
  kubectl get nodes -o jsonpath="{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=='Ready')].status} \
{.status.conditions[?(@.type=='Ready')].lastHeartbeatTime} {.status.capacity.$gpu} {.status.allocatable.$gpu} \
{.metadata.labels.topology\.kubernetes\.io/rack}{'\n'}{end}" 2>/dev/null
}

nodes_ready() { # nodes_ready INDEX...; a report from before the machine's start says nothing about this life of it
  local table i name line started
  table=$(node_table) || return 1
  for i; do
    name=$(node_name "$i")
    started=$(<"$STATE/$name.started")
    line=$(grep "^$name True " <<<"$table") || return 1
    read -r _ _ line _ <<<"$line"
    if [[ $line < $started ]]; then return 1; fi
  done
}

nodes_registered() {
  local table i
  table=$(node_table) || return 1
  for i; do grep -q "^$(node_name "$i") " <<<"$table" || return 1; done
}

# There is no device plugin: the capacity is written into the node's status. The kubelet copies it to allocatable, KubeRay makes
# `ray start --num-gpus` of the pods' limits and the scheduler counts it, so placement is real and only the devices are missing.
set_gpus() { # set_gpus COUNT INDEX...
  local gpus=$1 i table patch
  shift
  table=$(node_table)
  patch="[{\"op\":\"add\",\"path\":\"/status/capacity/nvidia.com~1gpu\",\"value\":\"$gpus\"}]"
  for i; do
    if ! grep -Eq "^$(node_name "$i") [^ ]* [^ ]* $gpus " <<<"$table"; then
      kubectl patch node "$(node_name "$i")" --subresource=status --type=json -p "$patch"
    fi
    if ! grep -Eq "^$(node_name "$i") .* $(node_rack "$i")\$" <<<"$table"; then
      kubectl label node "$(node_name "$i")" --overwrite "topology.kubernetes.io/rack=$(node_rack "$i")"
    fi
  done
}

gpus_allocatable() { # gpus_allocatable COUNT INDEX...
  local gpus=$1 i table
  shift
  table=$(node_table) || return 1
  for i; do grep -Eq "^$(node_name "$i") [^ ]* [^ ]* $gpus $gpus " <<<"$table" || return 1; done
}

await_nodes() { # await_nodes GPUS INDEX...
  local gpus=$1
  shift
  wait_until 90 "the nodes to register" nodes_registered "$@"
  set_gpus "$gpus" "$@"
  wait_until 90 "the nodes to be Ready" nodes_ready "$@"
  wait_until 30 "the GPUs to be allocatable" gpus_allocatable "$gpus" "$@"
}
