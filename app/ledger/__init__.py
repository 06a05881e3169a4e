"""What is true: PostgreSQL, and nothing else. Functions over sql/queries, one verb each.

A job or worker changes by one statement that compares what it was; False or None says that the race was lost.

Every verb raises Unavailable when PostgreSQL does not answer: a change may have happened all the same. It raises
Collided when others changed the same rows at the same moment: then nothing has happened. Reads may be repeated, and so
may changes that compare what was. What makes or takes something each time may not: submit, record, add_note, and
create and spend of tokens.
"""
