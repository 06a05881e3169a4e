"""What is measured, and how to repeat it: `python -m bench.<name>`; figures go to build/bench/<name>.json."""
