"""Muster's server side: the pool's words, the ledger, the coordinator, the web."""
