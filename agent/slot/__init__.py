"""Slots: RQ workers, each with one job at a time."""
