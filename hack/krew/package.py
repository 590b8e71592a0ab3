#!/usr/bin/env python3
"""Packs `kubectl rayfleet` for Krew: an archive for every platform, and the manifest with their checksums.

  hack/krew/package.py --url https://example.org/rayfleet/v0.1.0 --out dist

Version, description and platforms are those of Cargo's metadata (`package.metadata.krew` of orchestrator/cli). The
program of a platform is expected where Cargo puts it, target/TRIPLE/release/kubectl-rayfleet; one that is missing is an
error. What is in an archive depends on nothing else: the same programs give the same archives, byte for byte. Standard
library only.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PROGRAM = "kubectl-rayfleet"
NAME = "rayfleet"
# Krew's names of what Rust's triples begin with and have in their middle.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SYSTEMS = {"linux": "linux", "apple": "darwin"}


class Unusable(Exception):
    """An error with its cure."""

    def __init__(self, message, cure):
        super().__init__(f"error: {message}\ncure:  {cure}")


def cargo_package():
    """What Cargo says of the program's package."""
    command = ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, cwd=REPO, check=True, capture_output=True).stdout)
    package = next(package for package in metadata["packages"] if package["name"] == PROGRAM)
    return package, Path(metadata["target_directory"])


def platform(triple):
    """Krew's OS and architecture of a target of Rust."""
    parts = triple.split("-")
    system = next((SYSTEMS[part] for part in parts if part in SYSTEMS), None)
    architecture = ARCHITECTURES.get(parts[0])
    if not system or not architecture:
        raise Unusable(f"{triple}: Krew's name of this platform is not known", "add it to hack/krew/package.py")
    return system, architecture


def archive(program):
    """A .tar.gz of the program and the licence, without times and owners."""
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, path, mode in (("LICENSE", REPO / "LICENSE", 0o644), (PROGRAM, program, 0o755)):
            content = path.read_bytes()
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            tar.addfile(info, io.BytesIO(content))
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as file:
        file.write(tarred.getvalue())
    return packed.getvalue()


def manifest(package, platforms, homepage):
    """Krew's manifest. A string in quotes of JSON is one of YAML."""
    krew, quoted = package["metadata"]["krew"], json.dumps
    lines = [
        "# Written by hack/krew/package.py.",
        "apiVersion: krew.googlecontainertools.github.com/v1alpha2",
        "kind: Plugin",
        "metadata:",
        f"  name: {NAME}",
        "spec:",
        f"  version: v{package['version']}",
    ]
    if homepage:
        lines.append(f"  homepage: {quoted(homepage)}")
    lines.append(f"  shortDescription: {quoted(krew['short-description'])}")
    for field in ("description", "caveats"):
        lines.append(f"  {field}: |")
        lines += [f"    {line}".rstrip() for line in krew[field].strip().splitlines()]
    lines.append("  platforms:")
    for system, architecture, uri, digest in platforms:
        lines += [
            "  - selector:",
            "      matchLabels:",
            f"        os: {system}",
            f"        arch: {architecture}",
            f"    uri: {quoted(uri)}",
            f"    sha256: {digest}",
            f"    bin: {PROGRAM}",
        ]
    return "\n".join(lines) + "\n"


def pack(package, target, url, out, homepage=None):
    """Writes archives and manifest into a folder; the manifest's path."""
    out.mkdir(parents=True, exist_ok=True)
    platforms = []
    for triple in package["metadata"]["krew"]["targets"]:
        program = target / triple / "release" / PROGRAM
        if not program.is_file():
            raise Unusable(
                f"{program} is missing", f"cargo build --release --locked -p {PROGRAM} --target {triple}"
            )
        system, architecture = platform(triple)
        name = f"{PROGRAM}-v{package['version']}-{system}-{architecture}.tar.gz"
        content = archive(program)
        (out / name).write_bytes(content)
        uri = f"{url.rstrip('/')}/{name}"
        platforms.append((system, architecture, uri, hashlib.sha256(content).hexdigest()))
    path = out / f"{NAME}.yaml"
    path.write_text(manifest(package, platforms, homepage))
    return path


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="where the archives will be downloaded from")
    parser.add_argument("--out", required=True, type=Path, help="folder for archives and manifest")
    parser.add_argument("--homepage", help="the project's page")
    args = parser.parse_args()
    package, target = cargo_package()
    target = Path(os.environ.get("CARGO_TARGET_DIR", target))
    print(pack(package, target, args.url, args.out, args.homepage))


if __name__ == "__main__":
    try:
        main()
    except Unusable as error:
        print(error, file=sys.stderr)
        sys.exit(2)
