#!/usr/bin/env python3
"""Makes OCI images for `ctr images import` without a registry or a Docker engine. Standard library only.

  mkimage.py layer NAME LAYER.tar OUT.tar [options]   an image of one layer, given as a tar file
  mkimage.py binary NAME BINARY OUT.tar [options]     an image of one program and the shared libraries it needs

The same input gives the same image, byte for byte. OUT.tar.sha256 is written beside it.
"""

import argparse
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
from pathlib import Path

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}
NONROOT = "nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin"


def file_digest(file):
    """SHA-256 of an open file from its beginning (hashlib.file_digest is not in Python 3.10)."""
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def shared_libraries(binary):
    """Paths of the loader and the libraries that a program needs; none when it is static."""
    run = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        if "not a dynamic executable" in run.stderr + run.stdout:
            return []
        sys.exit(f"error: ldd {binary}: {run.stderr.strip()}")
    if missing := re.findall(r"^\s*(\S+) => not found", run.stdout, re.M):
        sys.exit(f"error: {binary} needs {', '.join(missing)}, not found here\n  cure: install the packages that hold them")
    return re.findall(r"(/\S+) \(0x", run.stdout)


def add(tar, path, data=b"", mode=0o644, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(path.lstrip("/"))
    info.size, info.mode, info.type = len(data), mode, kind
    tar.addfile(info, io.BytesIO(data))


def binary_layer(binary, target):
    """A root folder with the program, its libraries and the accounts that names are looked up in."""
    files = {target: (Path(binary).read_bytes(), 0o755)}
    for library in shared_libraries(binary):
        files[library] = (Path(library).read_bytes(), 0o755)
    files["/etc/passwd"] = (f"root:x:0:0:root:/root:/sbin/nologin\n{NONROOT}\n".encode(), 0o644)
    files["/etc/group"] = (b"root:x:0:\nnonroot:x:65532:\n", 0o644)
    files["/etc/nsswitch.conf"] = (b"passwd: files\ngroup: files\nhosts: files dns\n", 0o644)
    folders = {str(parent) for path in files for parent in Path(path).parents} | {"/tmp"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder in sorted(folders - {"/"}):
            add(tar, folder, mode=0o1777 if folder == "/tmp" else 0o755, kind=tarfile.DIRTYPE)
        for path, (data, mode) in sorted(files.items()):
            add(tar, path, data, mode)
    return out.getvalue()


def write_image(name, layer, out, entrypoint, user, env):
    """Writes an OCI archive; `layer` is a seekable binary file."""
    diff = "sha256:" + file_digest(layer)
    size = layer.seek(0, os.SEEK_END)
    layer.seek(0)
    architecture = ARCHITECTURE.get(platform.machine(), platform.machine())

    def encode(value):
        return json.dumps(value, sort_keys=True).encode()

    def descriptor(kind, digest, length, **more):
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": length, **more}

    def digest_of(data):
        return "sha256:" + hashlib.sha256(data).hexdigest()

    config = encode({
        "architecture": architecture,
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [diff]},
        "config": {"Entrypoint": entrypoint, "User": user, "Env": env},
    })
    manifest = encode({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", digest_of(config), len(config)),
        "layers": [descriptor("layer.v1.tar", diff, size)],
    })
    names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[-1]}
    index = encode({
        "schemaVersion": 2,
        "manifests": [descriptor("manifest.v1+json", digest_of(manifest), len(manifest), annotations=names)],
    })
    temporary = f"{out}.new"
    with tarfile.open(temporary, "w") as tar:
        add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add(tar, "index.json", index)
        for blob in (config, manifest):
            add(tar, "blobs/sha256/" + digest_of(blob)[7:], blob)
        info = tarfile.TarInfo("blobs/sha256/" + diff[7:])
        info.size = size
        tar.addfile(info, layer)
    with open(temporary, "rb") as file:
        digest = file_digest(file)
    os.replace(temporary, out)
    Path(f"{out}.sha256").write_text(digest + "\n", encoding="ascii")
    print(f"{name}: {out}, {os.path.getsize(out) / 2**20:.1f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["layer", "binary"])
    parser.add_argument("name", help="the image's name with its tag, as pods write it; a short Docker Hub name needs docker.io/ in front")
    parser.add_argument("source")
    parser.add_argument("out")
    parser.add_argument("--path", help="where the program lies in the image (default /usr/local/bin/NAME-OF-THE-FILE)")
    parser.add_argument("--entrypoint", action="append", default=[], help="one word; may be repeated (default for a binary: its path)")
    parser.add_argument("--user", default="", help="uid:gid (default for a binary 65532:65532)")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE; may be repeated")
    args = parser.parse_args()
    if ":" not in args.name.rsplit("/", 1)[-1]:
        parser.error(f"the image name {args.name!r} has no tag")
    env = args.env or ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    if args.kind == "layer":
        with open(args.source, "rb") as layer:
            write_image(args.name, layer, args.out, args.entrypoint, args.user, env)
        return
    target = args.path or f"/usr/local/bin/{os.path.basename(args.source)}"
    layer = io.BytesIO(binary_layer(args.source, target))
    write_image(args.name, layer, args.out, args.entrypoint or [target], args.user or "65532:65532", env)


main()
