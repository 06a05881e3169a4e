"""Files that leave an attempt: its outputs, and what its checkpoints hold.

A file that is reported is on the disk. No file of a workflow's is lost for its name. What takes long calls its
`tick`, several times a second and always in the caller's thread; what a tick raises ends the work.
"""
