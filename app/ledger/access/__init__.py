"""Access: who may ask (tokens, sessions), and what was asked before (idempotency keys)."""
