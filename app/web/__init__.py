"""What people and programs see: the API and the pages, one Flask application in any number of processes.

http/    what every view needs: who asks, errors as problems, ETags, idempotency keys, strict JSON, caches.
shapes/  what requests carry and what is shown of jobs and workers; API and pages share it.
api/     JSON views, described by OpenAPI.
pages/   HTML views and the fragments that they poll. API and pages never import each other.

Views are thin. A view checks who asks, calls an action (app/actions) or reads the ledger and Redis, and answers.
What a request asks for is written by an action alone; http/ writes to the ledger what belongs to requests themselves:
sessions and idempotency keys. Nothing here decides where a job runs.
"""
