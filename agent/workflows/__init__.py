"""The workflows that ship. Each has a module with `declaration()` and `run(job)`."""


class NotOffered(Exception):
    """The host lacks what the workflow needs; the message says what."""
