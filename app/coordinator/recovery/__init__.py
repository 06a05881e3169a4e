"""Recovery: ledger, leases, queues and heartbeats are compared, and made to agree again."""
