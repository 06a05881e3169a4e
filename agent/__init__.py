"""The agent: joins a pool and runs its jobs on this host. Imports app.pool and nothing else of app."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # where its code lies
