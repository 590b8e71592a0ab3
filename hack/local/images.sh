# The images, made without a registry: pause, KubeRay's operator, and a small Debian or Ubuntu that Ray's pods run in.
# shellcheck shell=bash

ensure_images() {
  local key
  mkdir -p "$IMAGES"
  key=$(hash_of "$HACK/local/mkimage.py" "=$(declare -f make_small_images)" "$BIN/pause" "$BIN/kuberay-operator")
  if ! is_fresh images "$key" "$IMAGES/pause.tar" "$IMAGES/kuberay-operator.tar"; then
    step "Make the images of pause and KubeRay" "see the log" make_small_images
    mark_fresh images "$key"
  fi
  key=$(hash_of "$HACK/local/mkimage.py" "=$(declare -f make_ray_image)" /etc/os-release "=$VENV")
  if ! is_fresh ray-image "$key" "$IMAGES/ray.tar"; then
    step "Make Ray's image from the packages of $(host_suite)" "mostly the package mirror: try apt-get update" make_ray_image
    mark_fresh ray-image "$key"
  fi
}

image_from_binary() { # image_from_binary NAME BINARY OUT.tar [mkimage.py's options]: runs as 65532, libraries included
  /usr/bin/python3 "$HACK/local/mkimage.py" binary "$@"
}

make_small_images() {
  image_from_binary "$PAUSE_IMAGE" "$BIN/pause" "$IMAGES/pause.tar" --path /pause
  image_from_binary "$KUBERAY_IMAGE" "$BIN/kuberay-operator" "$IMAGES/kuberay-operator.tar" --path /manager
}

host_suite() { # shellcheck disable=SC1091  # the host's own file
  (. /etc/os-release && echo "$VERSION_CODENAME")
}

# Ray and vLLM are not in the image: pods mount the venv of the host at the same path, read-only. So the image must have the same
# python3 as the host, and only ways into the venv. A login shell resets PATH, hence they are in /usr/local/bin.
make_ray_image() {
  local work=$IMAGES/.ray.new
  rm -rf "$work" && mkdir -p "$work"
  # A mere link to a venv's python does not find the venv; this does.
  cat >"$work/add-links" <<SH
#!/bin/sh -e
mkdir -p "\$1$VENV"
ln -s "$VENV/bin/ray" "\$1/usr/local/bin/ray"
for python in python python3; do
  printf '#!/bin/sh\nexec $VENV/bin/python "\$@"\n' >"\$1/usr/local/bin/\$python"
  chmod 755 "\$1/usr/local/bin/\$python"
done
SH
  chmod 755 "$work/add-links"
  SOURCE_DATE_EPOCH=0 mmdebstrap --mode=root --variant=minbase \
    --include=python3,wget,procps,libnuma1,libgomp1,iproute2 \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --customize-hook="$work/add-links \"\$1\"" \
    "$(host_suite)" "$work/layer.tar"
  /usr/bin/python3 "$HACK/local/mkimage.py" layer "$RAY_IMAGE" "$work/layer.tar" "$IMAGES/ray.tar" \
    --env "PATH=$VENV/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
  rm -rf "$work"
}

load_image() { # load_image NAME FILE.tar: keeps it for nodes that start later, and imports it into those that run
  local name=$1 file i failed=''
  file=$IMAGES/loaded-$(tr -c 'A-Za-z0-9.\n' - <<<"$name").tar
  cp "$2" "$file.new"
  sha256sum "$file.new" | cut -d' ' -f1 >"$file.sha256.new"
  mv "$file.sha256.new" "$file.sha256"
  mv "$file.new" "$file"
  for i in $(known_nodes); do
    if is_running "$(node_name "$i")"; then
      machine_shell "$(node_name "$i")" bash "$HACK/local/import-image.sh" "$file" || failed+=" $(node_name "$i")"
    fi
  done
  if [[ -n $failed ]]; then die "could not import $name into$failed"; fi
}

image_name_in() { # the name inside an OCI archive or a `docker save` file
  /usr/bin/python3 - "$1" <<'PY'
import json, sys, tarfile
try:
    with tarfile.open(sys.argv[1]) as tar:
        if "manifest.json" in tar.getnames():
            print(json.load(tar.extractfile("manifest.json"))[0]["RepoTags"][0])
        else:
            print(json.load(tar.extractfile("index.json"))["manifests"][0]["annotations"]["io.containerd.image.name"])
except (OSError, tarfile.TarError, ValueError, KeyError, IndexError, TypeError) as error:
    sys.exit(f"error: {sys.argv[1]} is not an image archive with a name: {str(error).splitlines()[0]}\n"
             "  cure: make it by hack/cluster image, or by docker save NAME:TAG")
PY
}
