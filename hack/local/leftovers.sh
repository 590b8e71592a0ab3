# Takes everything away, from a cluster in any state, and looks whether anything is left.
# shellcheck shell=bash

end_all_processes() {
  local i name
  for ((i = 1; i <= MAX_NODES; i++)); do end_process "$(node_name "$i")"; done
  end_process "$GATEWAY"
  for name in coredns kube-scheduler kube-controller-manager kube-apiserver etcd; do end_process "$name"; done
}

remove_everything() { # all but what is worth keeping: binaries, images, venv, keys, and the images that nodes imported
  local i dir
  end_all_processes
  remove_links
  wait_until 20 "the cgroups to go" cgroups_removed
  for ((i = 1; i <= MAX_NODES; i++)); do
    dir=$STATE/$(node_name "$i")
    rm -rf "$dir"/{kubelet,cni,podlogs,kubelet.yaml} "$dir.started"
  done
  rm -rf "$STATE/etcd" "$STATE/run" "$STATE/Corefile" "$STATE/$GATEWAY.started"
  if [[ -f $STATE/made-dirs ]]; then
    sort -r "$STATE/made-dirs" | while read -r dir; do rmdir --ignore-fail-on-non-empty "$dir" 2>/dev/null || true; done
    rm -f "$STATE/made-dirs"
  fi
}

left_over() { # one line for each thing that is still there
  local pid dir link
  for pid in $(cgroup_pids); do echo "process $pid ($(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-80))"; done
  for pid in /proc/[0-9]*; do                    # found by its arguments and mounts, not by our records
    if [[ $(readlink "$pid/exe" 2>/dev/null) == "$BIN"/* ]] && grep -qaF -e "$STATE/" -e "$PKI/" "$pid/cmdline"; then echo "process ${pid#/proc/} ($(readlink "$pid/exe"))"; fi
    if [[ $(readlink "$pid/ns/mnt" 2>/dev/null) != "$(readlink /proc/self/ns/mnt)" ]] && grep -qF "$ROOT/" "$pid/mountinfo" 2>/dev/null; then
      echo "mount namespace of process ${pid#/proc/}"
    fi
  done
  awk -v root="$ROOT/" 'index($4, root) || index($5, root) { print "mount " $5 }' /proc/self/mountinfo
  for link in /sys/class/net/"$LINK_PREFIX"* "/sys/class/net/$BRIDGE"; do
    if [[ -e $link ]]; then echo "link ${link##*/}"; fi
  done
  ip -4 route show | awk -v bridge="$BRIDGE" '$0 ~ ("dev " bridge) { print "route " $0 }'
  while read -r dir; do
    if [[ -d $dir/$CGROUP ]]; then echo "cgroup $dir/$CGROUP"; fi
  done < <(hierarchies)
  for dir in "$STATE"/{etcd,run,node-*/kubelet}; do
    if [[ -e $dir ]]; then echo "folder $dir"; fi
  done
}

refuse_foreign_cluster() { # names and addresses are fixed, so a cluster of another folder is in the way, and not ours to end
  local pid exe
  for pid in $(cgroup_pids); do
    exe=$(readlink "/proc/$pid/exe" 2>/dev/null) || continue
    if [[ $exe == */bin/kube && $exe != "$BIN/kube" ]]; then
      die "a local cluster with its state in ${exe%/bin/kube} is up on this host" "RAYFLEET_LOCAL=${exe%/bin/kube} hack/cluster down"
    fi
  done
}

verify_nothing_left() {
  local left
  left=$(left_over)
  if [[ -n $left ]]; then
    echo "$left"
    die "the cluster is not wholly gone; what is left is listed above"
  fi
}

purge() { # removes the caches too; only ever what this script made, in a folder that it marked
  local name
  if [[ ! -f $MARKER ]]; then die "$ROOT does not bear this script's mark, so nothing is purged" "set RAYFLEET_LOCAL to the right folder"; fi
  for name in bin images pki state stamps venv venv.new venv.old models log uv uv.new kuberay; do rm -rf "${ROOT:?}/$name"; done
  rm -rf "$ROOT"/build-* "$ROOT"/pki.new "$KUBECONFIG" "$KUBECONFIG.new" "$MARKER" "$ROOT/lock"
  rmdir --ignore-fail-on-non-empty "$ROOT"
}
