"""Actions: what people, agents and programs may do, whichever way they ask.

An action takes the stores (`Services`, or a ledger) and the actor. It writes, records an event, and rings the
coordinator. Nothing here depends on a web framework, a request or a status: what cannot be done
is an error of `errors`, and app/web/http turns it into a status. Errors name fields and paths as the API does.
"""
