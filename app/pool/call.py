"""Calling an agent on the address that it announced: who is there now?

Three answers are told apart because they prove different things: somebody answered (and says who),
the host refused (nobody listens there), or nothing came back (which proves nothing).
"""

from __future__ import annotations

import http.client
from enum import Enum

from app.pool.admission import WhoIs
from app.pool.codec import from_json

MOST_BYTES = 16 * 1024


class NoAnswer(Enum):
    """How a call failed to tell who is there."""

    REFUSED = "refused"
    SILENT = "silent"


def who_is(address: str, port: int, timeout_s: float) -> WhoIs | NoAnswer:
    """Who answers GET / on this address and port; raises nothing. All but an agent's own answer counts as silence."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout_s)
    try:
        connection.request("GET", "/")
        return from_json(WhoIs, connection.getresponse().read(MOST_BYTES))
    except ConnectionRefusedError:
        return NoAnswer.REFUSED
    except (OSError, http.client.HTTPException, ValueError):
        return NoAnswer.SILENT
    finally:
        connection.close()
