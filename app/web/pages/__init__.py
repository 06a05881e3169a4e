"""The pages: HTML views and the fragments that they poll."""
