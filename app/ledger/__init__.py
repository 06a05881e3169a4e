"""What is true: PostgreSQL, and nothing else. Functions over sql/queries, one verb each.

A job or worker changes by one statement that compares what it was; False or None says that the race was lost.
"""
