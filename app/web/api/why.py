"""Why a job waits over HTTP, filter by filter; why each of its attempts went where it did."""

from __future__ import annotations

from flask import Response

from app.actions import jobs
from app.web.http import blueprints
from app.web.http.auth import PEOPLE, caller
from app.web.http.responses import answer
from app.web.http.schemas import JobPath
from app.web.http.services import services
from app.web.shapes.why import WhyAnswer, explain

blueprint = blueprints.group("why", reads=PEOPLE)


@blueprint.get("/jobs/<id:job>/why", responses={200: WhyAnswer})
def why(path: JobPath) -> Response:
    """Ask why a job waits, or why its attempts went where they did."""
    return answer(explain(jobs.find(services().ledger, caller(), path.job)))
