# Builds the binaries: kube (etcd, all of Kubernetes, kubectl), coredns, pause, and KubeRay's operator with its manifests.
# shellcheck shell=bash

KUBE_COMPONENTS=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)

ensure_binaries() { # under a lock of its own: meanwhile the venv can be made and used
  local key building
  exec {building}>"$ROOT/lock-build"
  if ! flock -w 1 "$building"; then
    say "Another hack/cluster is building Kubernetes; waiting for it."
    flock "$building"
  fi
  key=$(hash_of "$HACK/tools/kubernetes" "=$(declare -f build_kubernetes)")
  if ! is_fresh kubernetes "$key" "$BIN/kube" "$BIN/coredns" "$BIN/pause"; then
    require_go
    step "Build Kubernetes, etcd and CoreDNS (10 min on two cores the first time)" \
      "mostly the network (set GOPROXY) or memory: 4 GiB free are needed; then again: hack/cluster build" build_kubernetes
    mark_fresh kubernetes "$key"
  fi
  key=$(hash_of "$HACK/tools/kuberay" "$HACK/local/kuberay" "=$(declare -f build_kuberay)")
  if ! is_fresh kuberay "$key" "$BIN/kuberay-operator" "$BIN/kuberay.yaml"; then
    require_go
    step "Build KubeRay's operator (2 min the first time)" "mostly the network: set GOPROXY; then again: hack/cluster build" build_kuberay
    mark_fresh kuberay "$key"
  fi
  exec {building}>&-
}

build_kubernetes() {
  local version flags component
  version=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' "$HACK/tools/kubernetes/go.mod")
  flags="-s -w -X k8s.io/component-base/version.gitVersion=$version"      # else nodes say v0.0.0-master
  flags+=" -X k8s.io/client-go/pkg/version.gitVersion=$version"
  rm -rf "$BIN/.new" && mkdir -p "$BIN/.new"
  CGO_ENABLED=0 go -C "$HACK/tools/kubernetes" build -ldflags "$flags" -trimpath -o "$BIN/.new/" ./cmd/...
  for component in "${KUBE_COMPONENTS[@]}"; do ln -s kube "$BIN/.new/$component"; done
  mv -f "$BIN"/.new/* "$BIN/"
  rmdir "$BIN/.new"
}

build_kuberay() { # the manifests are the module's own config/, with our image's name and a namespace put over it
  local module
  mkdir -p "$BIN"
  CGO_ENABLED=0 go -C "$HACK/tools/kuberay" build -ldflags '-s -w' -trimpath -o "$BIN/kuberay-operator.new" "$KUBERAY_MODULE"
  module=$(go -C "$HACK/tools/kuberay" list -m -f '{{.Dir}}' "$KUBERAY_MODULE")
  rm -rf "$ROOT/kuberay" && mkdir -p "$ROOT/kuberay"
  cp -r "$module/config" "$HACK/local/kuberay" "$ROOT/kuberay/"
  chmod -R u+w "$ROOT/kuberay"
  "$BIN/kubectl" kustomize "$ROOT/kuberay/kuberay" >"$BIN/kuberay.yaml.new"
  rm -rf "$ROOT/kuberay"
  mv "$BIN/kuberay.yaml.new" "$BIN/kuberay.yaml"
  mv "$BIN/kuberay-operator.new" "$BIN/kuberay-operator"
}
