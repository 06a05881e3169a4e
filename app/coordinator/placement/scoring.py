"""The strategies: by what order workers stand in a set, and what a class of jobs adds to their scores. Pure.

least-loaded      load, and for each preferred tag that the worker lacks its weight's worth of load
round-robin       fewer preferred tags lacking first, then who received a job longest ago
capability-first  least to spare first, then as least-loaded

A set knows nothing of classes: what is added is the same for all workers of one kind, so classes share it.
"""

from __future__ import annotations

from typing import Literal

from app.pool.capacity import Need
from app.pool.matching import all_tags, largest_mb
from app.pool.model import Requirement, Worker
from app.pool.policy import CAPABILITY_FIRST, ROUND_ROBIN

ScoreKey = Literal["load", "turn"]

# The scores' places: a turn below 2^36 (2 years of 1,000 jobs a second), above it the weights that are lacking in
# 500ths (64 tags of weight 1 at most), above these what settle.lua adds for a place behind the slots.
LACKING, LACKING_STEPS = 2.0**36, 500
# What is to spare in 8ths of a tag; 8 GiB of memory are as much as a tag. More than any load and lacking tags.
SPARE, SPARE_STEPS, TAG_MB = 1_000.0, 8, 8192


def order(strategy: str) -> ScoreKey:
    """By what the workers of a set are ordered for this strategy."""
    return "turn" if strategy == ROUND_ROBIN else "load"


def offset(strategy: str, worker: Worker, requirement: Requirement, needs: Need, prefer_weight: float) -> float:
    """What is added to a worker's score for jobs with this requirement; higher comes later."""
    tags = all_tags(worker)
    lacking = sum(weight for tag, weight in requirement.prefers if tag not in tags)
    if strategy == ROUND_ROBIN:
        return round(lacking * LACKING_STEPS) * LACKING
    if strategy == CAPABILITY_FIRST:
        spare = round(_spare(worker, requirement, needs) * SPARE_STEPS)
        return spare * SPARE + prefer_weight * lacking
    return prefer_weight * lacking


def _spare(worker: Worker, requirement: Requirement, needs: Need) -> float:
    """Tags beyond the required and the preferred ones; memory beyond the need on the largest fitting card."""
    wished = {*requirement.tags, *(tag for tag, _ in requirement.prefers)}
    return len(all_tags(worker) - wished) + max(0, largest_mb(worker) - needs.least_mb) / TAG_MB
