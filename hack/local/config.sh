# Names, paths and addresses of the local cluster. Only constants and the functions that derive from them.
# shellcheck shell=bash disable=SC2034  # the other parts read these

REPO=$(cd "$HACK/.." && pwd)
ROOT=${RAYFLEET_LOCAL:-/var/lib/rayfleet-local}
BIN=$ROOT/bin IMAGES=$ROOT/images PKI=$ROOT/pki STATE=$ROOT/state STAMPS=$ROOT/stamps
VENV=$ROOT/venv MODELS=$ROOT/models LOGS=$ROOT/log
MARKER=$ROOT/.rayfleet-local          # says that the folder is ours: nothing is purged without it
export KUBECONFIG=$ROOT/kubeconfig

# One bridge joins the machines; the host is on it too, and runs the control plane and the DNS server there.
BRIDGE=rfbr0
LINK_PREFIX=rfv-
HOST_IP=10.88.0.1 MACHINE_NET=10.88.0.0/24
GATEWAY=gateway GATEWAY_IP=10.88.0.2  # a machine with nothing but kube-proxy: the host's way to ClusterIP services
SERVICE_NET=10.96.0.0/16 API_SERVICE_IP=10.96.0.1
POD_NET=10.99.0.0/16
CGROUP=rayfleet

MAX_NODES=8
NODE_LETTERS=(a b c d e f g h)

RAY_IMAGE=rayfleet.local/ray:2.60.0
PAUSE_IMAGE=rayfleet.local/pause:1
KUBERAY_MODULE=github.com/ray-project/kuberay/ray-operator
KUBERAY_IMAGE=rayfleet.local/kuberay-operator:1.6.2
KUBERAY_NAMESPACE=kuberay-system

node_name() { echo "node-${NODE_LETTERS[$1 - 1]}"; }                  # node_name 1 -> node-a
node_ip() { echo "10.88.0.$((10 + $1))"; }
node_pods() { echo "10.99.$1.0/24"; }
node_rack() { echo "rack-$((($1 + 1) / 2))"; }                        # two nodes a rack

node_index() { # node_index node-b -> 2
  local i
  for ((i = 1; i <= MAX_NODES; i++)); do
    if [[ $(node_name "$i") == "$1" ]]; then echo "$i"; return; fi
  done
  die "there is no node named '$1'" "nodes are named node-a to $(node_name $MAX_NODES); see: hack/cluster status"
}

known_nodes() { # indexes of the nodes that `up` made
  local i
  for ((i = 1; i <= MAX_NODES; i++)); do
    if [[ -d $STATE/$(node_name "$i")/kubelet ]]; then echo "$i"; fi
  done
}
