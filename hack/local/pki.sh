# Certificates, service account keys, tokens and kubeconfigs. Made once and kept until `down --purge`.
# shellcheck shell=bash

ensure_pki() {
  local key
  key=$(hash_of "$HACK/local/pki.sh" "=$HOST_IP $API_SERVICE_IP")
  if is_fresh pki "$key" "$PKI/tokens.csv" "$KUBECONFIG"; then return 0; fi
  if is_running etcd; then step "Take down the cluster of the old keys" "hack/cluster down" remove_everything; fi
  step "Make certificates and tokens" "see the log; openssl made one of its complaints" make_pki
  mark_fresh pki "$key"
}

make_pki() {
  local i alt
  umask 077
  rm -rf "$PKI.new" && mkdir -p "$PKI.new"
  cd "$PKI.new" || return
  openssl ecparam -name prime256v1 -genkey -noout -out ca.key
  openssl req -x509 -new -key ca.key -subj /CN=rayfleet-local-ca -days 3650 -out ca.crt
  alt="subjectAltName=IP:$HOST_IP,IP:$API_SERVICE_IP,DNS:kubernetes,DNS:kubernetes.default"
  alt+=",DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  certificate apiserver "$alt"
  certificate etcd subjectAltName=IP:127.0.0.1     # for both of its ends: without it any user of the host could write there
  certificate kubelet-client extendedKeyUsage=clientAuth   # the API server, when it asks kubelets for logs and exec
  openssl genrsa -out sa.key 2048
  openssl rsa -in sa.key -pubout -out sa.pub
  # These users have bootstrap roles of Kubernetes itself, so a token for each is all the set-up they need.
  kubeconfig "$KUBECONFIG.new" admin system:masters
  kubeconfig controller-manager.kubeconfig system:kube-controller-manager ''
  kubeconfig scheduler.kubeconfig system:kube-scheduler ''
  kubeconfig proxy.kubeconfig system:kube-proxy ''
  for ((i = 1; i <= MAX_NODES; i++)); do kubeconfig "$(node_name "$i").kubeconfig" "system:node:$(node_name "$i")" system:nodes; done
  rm -rf "$PKI"
  mv "$PKI.new" "$PKI"
  mv "$KUBECONFIG.new" "$KUBECONFIG"
}

certificate() { # certificate NAME EXTENSION
  openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
  openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" -extfile <(echo "$2")
}

kubeconfig() { # kubeconfig FILE USER GROUP
  local token
  token=$(openssl rand -hex 16)
  echo "$token,$2,$2,\"$3\"" >>tokens.csv
  cat >"$1" <<YAML
apiVersion: v1
kind: Config
current-context: rayfleet-local
clusters: [{name: rayfleet-local, cluster: {server: "https://$HOST_IP:6443", certificate-authority-data: $(base64 -w0 <ca.crt)}}]
users: [{name: rayfleet-local, user: {token: $token}}]
contexts: [{name: rayfleet-local, context: {cluster: rayfleet-local, user: rayfleet-local}}]
YAML
}
