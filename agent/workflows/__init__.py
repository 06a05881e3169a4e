"""The workflows that ship. Each module has `declaration()` and `run(job)`."""


class NotOffered(Exception):
    """The host lacks what the workflow needs; the message says what."""
