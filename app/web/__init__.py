"""What people and programs see: the HTTP API. Reads and writes the ledger, reads what is live, rings the bell.

Views are thin: they check who asks, call a verb of app.ledger and answer. Nothing here decides where a job runs.
"""
