"""Placement: which waiting job comes next, and which worker it is given.

From the order of the queues (fairness) to a reservation in Redis (place) and an assignment in the ledger (assign).
"""
