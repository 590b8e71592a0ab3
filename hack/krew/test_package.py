"""Holds the packages to Krew's own rules: its validator and its installer are built from tools/krew."""

import os
import shutil
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path

import package

TOOLS = package.REPO / "hack" / "tools" / "krew"


def tool(name, *args, **env):
    """Runs a tool of Krew."""
    command = ["go", "-C", str(TOOLS), "tool", name, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **env})


class PackageTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.package, _ = package.cargo_package()
        for triple in self.package["metadata"]["krew"]["targets"]:
            program = self.folder / "target" / triple / "release" / package.PROGRAM
            program.parent.mkdir(parents=True)
            program.write_text(f"#!/bin/sh\necho {triple}\n")

    def pack(self, out="dist"):
        url = "https://example.org/rayfleet/"
        return package.pack(self.package, self.folder / "target", url, self.folder / out, "https://example.org")

    def test_platforms_are_those_that_dependencies_are_checked_for(self):
        allowed = (package.REPO / "deny.toml").read_text()
        for triple in self.package["metadata"]["krew"]["targets"]:
            self.assertIn(f'"{triple}"', allowed)

    def test_the_same_programs_give_the_same_archives(self):
        first, second = self.pack("a"), self.pack("b")
        self.assertEqual(first.read_text(), second.read_text())
        for file in first.parent.glob("*.tar.gz"):
            self.assertEqual(file.read_bytes(), (second.parent / file.name).read_bytes())

    def test_an_archive_has_the_program_and_the_licence(self):
        name = f"kubectl-rayfleet-v{self.package['version']}-linux-amd64.tar.gz"
        with tarfile.open(self.pack().parent / name) as tar:
            modes = {member.name: member.mode for member in tar.getmembers()}
        self.assertEqual(modes, {"LICENSE": 0o644, "kubectl-rayfleet": 0o755})

    def test_a_missing_program_is_an_error_with_a_cure(self):
        shutil.rmtree(self.folder / "target" / "aarch64-apple-darwin")
        with self.assertRaisesRegex(package.Unusable, "cargo build .*--target aarch64-apple-darwin"):
            self.pack()

    def test_an_unknown_platform_is_an_error(self):
        with self.assertRaises(package.Unusable):
            package.platform("riscv64gc-unknown-linux-gnu")

    @unittest.skipUnless(shutil.which("go"), "Krew's own rules are written in Go")
    def test_krew_takes_the_manifest(self):
        path = self.pack()
        checked = tool("validate-krew-manifest", "-manifest", path, "-skip-install")
        self.assertEqual(checked.returncode, 0, checked.stderr)
        # And it would refuse a bad one.
        path.write_text(path.read_text().replace("shortDescription", "otherDescription"))
        checked = tool("validate-krew-manifest", "-manifest", path, "-skip-install")
        self.assertIn("should have a short description", checked.stderr)

    @unittest.skipUnless(shutil.which("go"), "Krew is written in Go")
    def test_krew_installs_the_archive_of_every_platform(self):
        path = self.pack()
        for triple in self.package["metadata"]["krew"]["targets"]:
            system, architecture = package.platform(triple)
            root = self.folder / "krew" / triple
            archive = path.parent / f"kubectl-rayfleet-v{self.package['version']}-{system}-{architecture}.tar.gz"
            env = {"KREW_ROOT": str(root), "KREW_OS": system, "KREW_ARCH": architecture}
            done = tool("krew", "install", f"--manifest={path}", f"--archive={archive}", **env)
            self.assertEqual(done.returncode, 0, done.stderr)
            ran = subprocess.run([root / "bin" / package.PROGRAM], capture_output=True, text=True, check=True)
            self.assertEqual(ran.stdout, f"{triple}\n")


if __name__ == "__main__":
    unittest.main()
