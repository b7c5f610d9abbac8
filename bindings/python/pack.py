#!/usr/bin/env python3
"""Pack a wheel of the extension that `cargo build --release --workspace` has built.

`maturin build` makes the same wheel, but has cargo build this crate alone: then the crates
that the workspace shares have other features, and wasmtime is compiled once more, for ten
minutes. So the workspace's own builds and tests use this; whoever builds from source, pip
included, uses maturin.

    python3 pack.py TARGET_FOLDER OUTPUT_FOLDER

Prints the path of the wheel. Needs `strip` (binutils), and nothing of Python's but its
standard library.
"""

import base64
import hashlib
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The oldest Python of the stable ABI that the crate asks for (`abi3-py312`).
TAG = "cp312-abi3-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")
# A wheel made twice of the same files is the same.
EPOCH = (1980, 1, 1, 0, 0, 0)


def metadata(project: dict, version: str) -> str:
    """Describe the package, in the form of core metadata."""
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {version}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        f"Requires-Python: {project['requires-python']}",
        *(f"Classifier: {classifier}" for classifier in project["classifiers"]),
        *(f"Requires-Dist: {needed}" for needed in project["dependencies"]),
    ]
    for extra, needs in project["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f"Requires-Dist: {needed} ; extra == '{extra}'" for needed in needs]
    lines.append("Description-Content-Type: text/markdown")
    return "\n".join(lines) + "\n\n" + (HERE / project["readme"]).read_text()


def contents(extension: Path, project: dict, version: str) -> Iterator[tuple[str, bytes]]:
    """Name each file of the wheel, with what it holds; the record comes after."""
    package = HERE / "python"
    for path in sorted(package.rglob("*")):
        if path.suffix in {".py", ".pyi"} or path.name == "py.typed":
            yield path.relative_to(package).as_posix(), path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder) / extension.name
        subprocess.run(["strip", "-o", stripped, extension], check=True)
        yield "guildhall/_guildhall.abi3.so", stripped.read_bytes()
    info = f"{project['name']}-{version}.dist-info"
    yield f"{info}/METADATA", metadata(project, version).encode()
    yield f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {TAG}\n".encode()
    yield f"{info}/licenses/LICENSE", (HERE.parents[1] / "LICENSE").read_bytes()


def main(target: Path, output: Path) -> Path:
    """Pack the wheel into `output`."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    version = tomllib.loads((HERE.parents[1] / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    extension = target / "release/lib_guildhall.so"
    if not extension.exists():
        sys.exit(f"{extension} is not built: cargo build --release --workspace --lib")
    output.mkdir(parents=True, exist_ok=True)
    wheel = output / f"{project['name']}-{version}-{TAG}.whl"
    record = f"{project['name']}-{version}.dist-info/RECORD"
    lines = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents(extension, project, version):
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(data)}")
            mode = 0o755 if name.endswith(".so") else 0o644
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, (0o100000 | mode) << 16
            archive.writestr(entry, data)
        lines.append(f"{record},,")
        archive.writestr(zipfile.ZipInfo(record, EPOCH), "\n".join(lines) + "\n")
    return wheel


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(main(Path(sys.argv[1]), Path(sys.argv[2])))
