"""pytest in a process whose `tensorrt` is the strict fake and whose libcuda is the CPU: by hand, from tests/,
`python -m doubles.nvidia.child 10.3.0 tests/simulated/test_x.py -x`. Paths are taken from the repository's root."""

from __future__ import annotations

import os
import sys

from doubles.nvidia.prepare import HERE, ROOT, VERSIONS, UnpreparedError, prepare

__all__ = ["child_command", "child_environment"]


def child_environment(version: str) -> dict[str, str]:
    """Raises UnpreparedError."""
    prepared = prepare()
    tests = HERE.parents[1]
    path = [str(HERE / "site"), str(tests), str(prepared.packages), os.environ.get("PYTHONPATH", "")]
    libraries = [str(prepared.libcuda), os.environ.get("LD_LIBRARY_PATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        "SIMULATED_TENSORRT": str(prepared.descriptions[version]),
    }


def child_command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *(arguments or ["tests/simulated"])]


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in VERSIONS:
        sys.exit(f"usage: python -m doubles.nvidia.child {{{','.join(VERSIONS)}}} [pytest's arguments]")
    try:
        environment = child_environment(sys.argv[1])
    except UnpreparedError as error:
        sys.exit(str(error))
    os.chdir(ROOT)
    command = child_command(sys.argv[2:])
    os.execve(command[0], command, environment)
