"""Upkeep: old rows and the files of attempts that nobody needs are removed."""
