"""Where pickle is refused nothing is unpickled that names a function."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOADS = """
import {module} as pickle, sys
from app.pool.pickles import refuse_pickle
refuse_pickle()
try:
    {loads}(bytes.fromhex(sys.argv[1]))
except Exception as error:
    print(type(error).__name__)
"""
PAYLOAD = b"cos\nsystem\n(S'touch MARK'\ntR."  # os.system("touch MARK") in protocol 0


@pytest.mark.parametrize(
    ("module", "loads"), [("pickle", "pickle.loads"), ("pickle", "pickle._loads"), ("_pickle", "pickle.loads")]
)
def test_a_pickle_that_names_a_function_is_refused_by_every_unpickler(tmp_path: Path, module: str, loads: str) -> None:
    code = LOADS.format(module=module, loads=loads)
    done = subprocess.run(
        [sys.executable, "-c", code, PAYLOAD.hex()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "PickleRefused\n"
    assert not (tmp_path / "MARK").exists()
