"""What the checkpoints of a command keep of its output folder.

A folder of numbered copies, which never change, and a manifest: a list that only grows, in which each checkpoint counts
up to where it was when that was taken. What a checkpoint costs is what is new since the last one. A later attempt's
manifest begins by naming the one that it went on from, so nothing is copied from attempt to attempt but into the
output folder.
"""
