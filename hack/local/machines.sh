# A machine: net, mount, uts and pid namespaces around machine-init.sh. SIGKILL of its recorded process is a power loss.
# shellcheck shell=bash

# Folders that nodes mount over. They must exist on the host; those that we make are noted, to be removed by `down`.
MOUNT_POINTS=(/var/lib/kubelet /var/lib/containerd /var/lib/cni /var/log/pods /var/log/containers /etc/cni /etc/cni/net.d)

make_mount_points() {
  local dir
  mkdir -p "$STATE"
  for dir in "${MOUNT_POINTS[@]}"; do
    if [[ ! -d $dir ]]; then
      mkdir -p "$dir"
      echo "$dir" >>"$STATE/made-dirs"
    fi
  done
}

start_machine() { # start_machine NAME IP ROLE [ARG...]; ROLE is the function that machine-init.sh runs
  local name=$1
  make_mount_points
  date -u +%Y-%m-%dT%H:%M:%SZ >"$STATE/$name.started"
  start_process "$name" unshare --net \
    unshare --mount --uts --pid --fork --kill-child --mount-proc \
    bash "$HACK/local/machine-init.sh" "$@"
  wait_until 10 "the network namespace of $name" connect_machine "$name" "$2"
}

kill_machine() { # the files stay; links and cgroups go, as they would in a reboot
  # The wire first: a machine without power sends no farewell, while the kernel closes the connections of killed processes properly.
  ip link delete "$LINK_PREFIX$1" 2>/dev/null || true
  end_process "$1"
  # Left-over pod cgroups make the next kubelet try each of them for three seconds.
  wait_until 10 "the cgroups of $1 to go" cgroups_removed "$1"
}

machine_shell() { # machine_shell NAME COMMAND...: in the machine's namespaces
  local name=$1 pid
  shift
  for pid in $(cgroup_pids "$name/system"); do
    if grep -Eq '^NSpid:\s+[0-9]+\s+1$' "/proc/$pid/status" 2>/dev/null; then
      nsenter --target "$pid" --net --mount --uts --pid -- "$@"
      return
    fi
  done
  die "$name is not running" "hack/cluster start-node $name"
}
