"""`python -m app up`: the whole pool on one host."""
