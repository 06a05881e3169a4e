"""Actions: what people, agents and programs may do, whichever way they ask.

Each takes the stores (`Services`) or a transaction, and the actor; it writes, records the event, and rings the
coordinator. Nothing here knows of HTTP: what cannot be done is an error of `errors`, which app/web/http turns into
a status.
"""
