"""Shapes: what requests carry and what is shown of jobs and workers; API and pages build on the same ones.

Shapes read the ledger and Redis; they change nothing.
"""
