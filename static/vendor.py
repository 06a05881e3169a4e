"""Fetch what the pages use from others: pinned by version and SHA-256, kept in static/vendor.

Run it after changing a version below (`python static/vendor.py`; needs npm). A file whose contents
are not the expected ones stops it; what lies in static/vendor and is no longer named is removed.
"""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENDOR = ROOT / "static" / "vendor"
BROWSER_TESTS = ROOT / "tests" / "browser"


@dataclass(frozen=True)
class Vendored:
    """One file of an npm package and where it is kept."""

    package: str
    version: str
    member: str
    kept: Path
    sha256: str


FILES = (
    Vendored(
        "htmx.org",
        "2.0.11",
        "package/dist/htmx.min.js",
        VENDOR / "htmx-2.0.11.min.js",
        "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
    ),
    Vendored(
        "idiomorph",
        "0.8.0",
        "package/dist/idiomorph-ext.min.js",
        VENDOR / "idiomorph-ext-0.8.0.min.js",
        "5811b9a7eda14878b7dab4378bf60432e1bb6f11fcfb970cc26540642650181e",
    ),
    Vendored(
        "axe-core",
        "4.10.3",
        "package/axe.min.js",
        BROWSER_TESTS / "axe-4.10.3.min.js",
        "880970c081707360e64f34cea25ff91892f5bc95675b0776925b9709dd8a68bb",
    ),
)


def main() -> None:
    """Fetch every file, check it, put it where it belongs."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        contents = _fetch(file)
        found = hashlib.sha256(contents).hexdigest()
        if found != file.sha256:
            raise SystemExit(f"{file.package} {file.version}: {file.member} has SHA-256 {found}, not {file.sha256}")
        file.kept.write_bytes(contents)
    for path in set(VENDOR.iterdir()) - {file.kept for file in FILES}:
        path.unlink()


def _fetch(file: Vendored) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", f"{file.package}@{file.version}"], cwd=folder, check=True)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            member = archive.extractfile(file.member)
            if member is None:
                raise SystemExit(f"{file.package} {file.version} has no {file.member}")
            return member.read()


if __name__ == "__main__":
    main()
