"""The agents that `up` starts on its own host: how many, with which GPUs, with which environment."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from app.pool.settings import without_secrets
from app.up.processes import Program

log = logging.getLogger(__name__)

GRACE_S = 5  # `up` ends within 10 s
GPUS_S = 10


def local_agents(
    home: Path, workers: int | None, server: str, address: str, join_token: str, environment: Mapping[str, str]
) -> list[Program]:
    """One program for each worker; by default one per GPU, or one without."""
    gpus = _gpus()
    count = (len(gpus) or 1) if workers is None else workers
    base = environment.get("MUSTER_NAME") or socket.gethostname()
    common = without_secrets(environment) | {
        "MUSTER_SERVER": server,
        "MUSTER_JOIN_TOKEN": join_token,
        "MUSTER_ADDRESS": address,
        "MUSTER_GRACE_S": str(GRACE_S),
    }
    return [
        Program(
            f"agent-{n}",
            (sys.executable, "-m", "agent"),
            {
                **common,
                "MUSTER_AGENT_HOME": str(home / "agents" / str(n)),
                "MUSTER_NAME": f"{base}-{n}",
                "MUSTER_GPUS": ",".join(gpus[n - 1 :: count]),
            },
        )
        for n in range(1, count + 1)
    ]


def _gpus() -> list[str]:
    """UUIDs of the host's GPUs, none where they cannot be asked.

    A child asks: a driver may hang, and what agents are made of is not ours.
    """
    argv = [sys.executable, "-m", "agent.gpus.inventory"]
    try:
        found = subprocess.run(argv, stdout=subprocess.PIPE, timeout=GPUS_S, env=os.environ, check=True)
        return [gpu["uuid"] for gpu in json.loads(found.stdout)["gpus"]]
    except (subprocess.SubprocessError, ValueError, KeyError) as error:
        log.warning("the agents here get no GPUs, because this host's could not be listed: %s", error)
        return []
