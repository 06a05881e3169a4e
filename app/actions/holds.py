"""Holds of workflows: a person who knows that what was lacking is there again need not wait for the next try."""

from __future__ import annotations

from app.actions.actor import Actor
from app.actions.errors import Missing
from app.actions.services import Services
from app.ledger import holds


def lift(services: Services, actor: Actor, workflow: str) -> None:
    """Let all jobs of the workflow start again. Raises Missing where it is not on hold."""
    if not holds.lift(services.ledger, workflow, actor.name):
        raise Missing(f"{workflow} is not on hold")
    services.ring("jobs")
