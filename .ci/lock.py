"""Writes requirements-dev.lock: every package of a development environment with its version and checksum.

``python .ci/lock.py`` asks pip what it would install; ``pip install --require-hashes -r requirements-dev.lock`` then
installs exactly that. The checksums are those of the files for this machine's kind of processor and Python.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements-dev.lock"
_HEADER = "# Written by .ci/lock.py for Python {version} on {platform}; install with pip --require-hashes.\n"


def main() -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    report = subprocess.run(
        [*command, ".[torch,tflite,prune,report,bench,dev]"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    LOCK.write_text(lock(json.loads(report)))


def lock(report: dict) -> str:
    """The lock file that pip's installation report stands for; names no place that a package came from."""
    lines = []
    for item in report["install"]:
        archive = item["download_info"].get("archive_info")
        if archive is None:
            continue  # this project
        name, version = item["metadata"]["name"].lower().replace("_", "-"), item["metadata"]["version"]
        lines.append(f"{name}=={version} --hash=sha256:{archive['hashes']['sha256']}\n")
    environment = report["environment"]
    platform = f"{environment['sys_platform']} {environment['platform_machine']}"
    header = _HEADER.format(version=environment["python_full_version"].rpartition(".")[0], platform=platform)
    return header + "".join(sorted(lines))


if __name__ == "__main__":
    main()
