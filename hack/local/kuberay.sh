# KubeRay's operator as a user would run it: a pod under its own service account with the RBAC that it ships.
# shellcheck shell=bash

apply_kuberay() { # skipped when this very manifest is applied already; server-side, as the CRDs are too large for the annotation
  local hash
  hash=$(sha256sum <"$BIN/kuberay.yaml" | cut -c1-32)
  if [[ $(kubectl get namespace "$KUBERAY_NAMESPACE" -o 'jsonpath={.metadata.annotations.rayfleet\.local/manifest}' 2>/dev/null) == "$hash" ]]; then
    return 0
  fi
  kubectl create namespace "$KUBERAY_NAMESPACE" --dry-run=client -o yaml | kubectl apply --server-side --force-conflicts -f -
  kubectl apply --server-side --force-conflicts -f "$BIN/kuberay.yaml"
  kubectl annotate namespace "$KUBERAY_NAMESPACE" --overwrite "rayfleet.local/manifest=$hash"
}

await_kuberay() {
  if kubectl -n "$KUBERAY_NAMESPACE" rollout status deployment/kuberay-operator --timeout=120s; then return 0; fi
  kubectl -n "$KUBERAY_NAMESPACE" get pods -o wide
  kubectl -n "$KUBERAY_NAMESPACE" logs deployment/kuberay-operator --tail=3
  kubectl -n "$KUBERAY_NAMESPACE" get events --sort-by=.lastTimestamp | tail -n 8
  return 1
}
