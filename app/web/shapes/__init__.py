"""Shapes: what requests carry and what is shown of jobs and workers; API and pages build on the same ones.

Shapes read the ledger and Redis. One of them calls an action: submission.py, since API and form submit alike.
"""
