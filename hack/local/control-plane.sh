# etcd, API server, controller manager, scheduler and CoreDNS: plain processes of the host, listening on the bridge's address only.
# shellcheck shell=bash

CONTROL_PLANE=(etcd kube-apiserver kube-controller-manager kube-scheduler coredns)

ensure_control_plane() { # starts those that do not run; clients of the API server retry until it is there
  local name
  for name in "${CONTROL_PLANE[@]}"; do
    if ! is_running "$name"; then
      end_process "$name"
      "start_$name"
    fi
  done
}

start_etcd() { # start_etcd [FLAG...]: without fsync: the data need not outlive the host, and a slow disk would stall everything
  mkdir -p "$STATE/etcd"
  chmod 700 "$STATE/etcd"
  start_process etcd "$BIN/etcd" --data-dir="$STATE/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls=https://127.0.0.1:23790 --advertise-client-urls=https://127.0.0.1:23790 --listen-peer-urls=http://127.0.0.1:23800 \
    --client-cert-auth --trusted-ca-file="$PKI/ca.crt" --cert-file="$PKI/etcd.crt" --key-file="$PKI/etcd.key" "$@"
}

start_kube-apiserver() { # start_kube-apiserver [FLAG...]: tolerations of 15 s, not 300: pods leave a lost node within a test's patience
  start_process kube-apiserver "$BIN/kube-apiserver" --etcd-servers=https://127.0.0.1:23790 \
    --etcd-cafile="$PKI/ca.crt" --etcd-certfile="$PKI/etcd.crt" --etcd-keyfile="$PKI/etcd.key" \
    --bind-address="$HOST_IP" --advertise-address="$HOST_IP" --secure-port=6443 \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$PKI/sa.pub" \
    --service-account-signing-key-file="$PKI/sa.key" --service-cluster-ip-range="$SERVICE_NET" \
    --authorization-mode=Node,RBAC --token-auth-file="$PKI/tokens.csv" --allow-privileged=true \
    --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate="$PKI/kubelet-client.crt" --kubelet-client-key="$PKI/kubelet-client.key" \
    --default-not-ready-toleration-seconds=15 --default-unreachable-toleration-seconds=15 "$@"
}

start_kube-controller-manager() { # its controllers need their own accounts: with RBAC on, its own may not even write EndpointSlices
  start_process kube-controller-manager "$BIN/kube-controller-manager" --kubeconfig="$PKI/controller-manager.kubeconfig" \
    --leader-elect=false --use-service-account-credentials --bind-address=127.0.0.1 \
    --service-account-private-key-file="$PKI/sa.key" --root-ca-file="$PKI/ca.crt" \
    --node-monitor-period=1s --node-monitor-grace-period=40s "$@"
}

start_kube-scheduler() {
  start_process kube-scheduler "$BIN/kube-scheduler" --kubeconfig="$PKI/scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1 "$@"
}

start_coredns() {
  sed "s#@HOST_IP@#$HOST_IP#; s#@KUBECONFIG@#$KUBECONFIG#" "$HACK/local/conf/Corefile" >"$STATE/Corefile"
  start_process coredns "$BIN/coredns" -conf "$STATE/Corefile"
}

api_ready() { kubectl get --raw /readyz >/dev/null 2>&1; }

await_api() {
  local limit=$(($(now_us) + 60000000)) name
  until api_ready; do
    for name in etcd kube-apiserver; do
      if ! is_running "$name"; then tail -n 15 "$LOGS/$name.log"; die "$name ended"; fi
    done
    if (($(now_us) > limit)); then tail -n 15 "$LOGS/kube-apiserver.log"; die "gave up waiting for the API server"; fi
    read -r -t 0.2 -u "$NEVER" || true
  done
}
