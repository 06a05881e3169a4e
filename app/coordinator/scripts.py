"""The Lua scripts: each stands beside the Python that calls it, and runs with settle.lua in front of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent


def source(name: str) -> str:
    """The text of `package/script`, such as `placement/place`, with what all scripts share in front of it."""
    package, _, script_name = name.partition("/")
    shared = ROOT / "placement" / "lua" / "settle.lua"
    return shared.read_text() + (ROOT / package / "lua" / f"{script_name}.lua").read_text()


def script(redis: Any, name: str) -> Any:
    """The script, registered with redis-py: it is called with `keys`, `args` and `client`."""
    return redis.register_script(source(name))
