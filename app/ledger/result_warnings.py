"""What people should look at of a result: what its workflow warns of; files that are empty, or missing against habit.

Written with the result, by what the ledger knew then: what comes later makes no earlier success doubtful.
"""

from __future__ import annotations

from app.ledger.db import Ledger
from app.pool.model import LIMITS, Json
from app.pool.protocol import Report
from app.pool.status import and_more
from app.pool.text import storable_text

BEFORE = 10  # successes of the workflow that are looked at
FEWEST = 3  # of which a habit can be told
OF_WORKFLOW = 20  # warnings of one result


def warnings(tx: Ledger, report: Report) -> list[str]:
    """Sentences on the result that this report brings; most often none. Call it in the transaction that accepts it."""
    return [*_of_workflow(report.result), *_of_files(tx, report)]


def _of_workflow(result: Json) -> list[str]:
    """The list `warnings` of a result that is an object; texts only, and shortened like all that is shown."""
    said = result.get("warnings") if isinstance(result, dict) else None
    texts = [text for text in said if isinstance(text, str) and text] if isinstance(said, list) else []
    return [storable_text(text)[: LIMITS.text_characters].rstrip(".") for text in texts[:OF_WORKFLOW]]


def _of_files(tx: Ledger, report: Report) -> list[str]:
    empty = [file.name for file in report.files if file.size == 0]
    if empty:
        return [f"its output {and_more(empty, 'empty')}"]
    if report.files:
        return []
    row = tx.one("results_before", job=report.job, most=BEFORE)
    if row is None or row["results"] < FEWEST or row["without_files"]:
        return []
    return [f"it left no file, though the last {row['results']} successes of {row['workflow']} all did"]
