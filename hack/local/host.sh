# What the cluster needs of the host: rights, cgroups, packages, tools. `require_rights` changes nothing and comes first.
# shellcheck shell=bash

require_rights() { # exit 3 when this host cannot run the cluster at all
  local why='' controller
  if [[ $EUID != 0 ]]; then
    why="it needs root (nodes are namespaces, mounts and cgroups)"
  elif ! unshare --net --mount --uts --pid --fork true 2>/dev/null; then
    why="this root may not make net, mount, uts and pid namespaces (a container without CAP_SYS_ADMIN?)"
  elif cgroups_v2; then
    if [[ ! -w /sys/fs/cgroup/cgroup.subtree_control ]]; then why="/sys/fs/cgroup is read-only"; fi
  else
    for controller in cpu cpuacct cpuset memory devices freezer blkio pids; do
      if ! hierarchies | grep -Eq "/([a-z_]+,)*$controller(,[a-z_]+)*\$"; then
        why="the cgroup controller '$controller' is not mounted under /sys/fs/cgroup"
      elif [[ ! -w /sys/fs/cgroup/$controller ]]; then
        why="/sys/fs/cgroup/$controller is read-only"
      fi
    done
  fi
  if [[ -z $why ]]; then return 0; fi
  printf 'error: this host cannot run the local cluster: %s.\n' "$why" >&2
  printf '  cure: run as root on a host or virtual machine of your own, or use a cluster you have: hack/quickstart --context NAME\n' >&2
  exit 3
}

ensure_packages() { # installs what is missing, judged by the files, so that a vendor's containerd will do too
  local missing=() why=()
  want() { # want PACKAGE WHY FILE-OR-COMMAND
    if [[ -e $3 ]] || command -v "$3" >/dev/null; then return 0; fi
    missing+=("$1"); why+=("$1 ($2)")
  }
  want containerd "runs the containers of each node" containerd
  want runc "starts them" runc
  want containernetworking-plugins "connects pods" /usr/lib/cni/bridge
  want nftables "kube-proxy's rules" nft
  want iproute2 "makes the network" ip
  want util-linux "makes the namespaces" unshare
  want openssl "makes the certificates" openssl
  want mmdebstrap "makes the image for Ray" mmdebstrap
  want python3 "runs Ray and vLLM" /usr/bin/python3
  want python3-venv "keeps them apart from the system" "$(echo /usr/lib/python3*/ensurepip)"
  if ((${#missing[@]} == 0)); then return 0; fi
  if ! command -v apt-get >/dev/null; then
    die "missing: ${why[*]}" "install them; this script does it by itself on Debian and Ubuntu only"
  fi
  say "Missing here: $(IFS=,; echo "${why[*]}")" | sed 's/,/, /g'
  step "Install ${missing[*]} by apt" "see the log; behind a proxy set it in /etc/apt/apt.conf.d" install_packages "${missing[@]}"
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -q -y --no-install-recommends "$@"
}

load_kernel_modules() { # kernels with everything built in have no modprobe to ask; a truly missing one shows later by name
  modprobe -qa overlay veth bridge br_netfilter nf_tables nf_conntrack 2>/dev/null || true
}

require_go() {
  local have want
  want=$(awk '$1 == "go" { print $2 }' "$HACK/tools/kubernetes/go.mod")
  if ! command -v go >/dev/null; then
    die "Go is not on PATH; Kubernetes, CoreDNS and KubeRay are built from source" "install Go $want or later from https://go.dev/dl (Debian 12's golang-go is too old)"
  fi
  have=$(go env GOVERSION)
  if [[ $(printf '%s\n' "go$want" "$have" | sort -V | head -n1) != "go$want" ]]; then
    die "Go $have is too old: $want is needed" "install it from https://go.dev/dl and put it first on PATH"
  fi
}

require_python() { # the image holds this same interpreter, so it must be the distribution's own and one that Ray and vLLM support
  if ! /usr/bin/python3 -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))'; then
    die "/usr/bin/python3 is $(/usr/bin/python3 -V 2>&1); Ray 2.60 and vLLM need 3.10 to 3.13" "use Debian 12 or 13, or Ubuntu 22.04 or 24.04"
  fi
}
