"""Limits on what callers may use, and the ledger that makes a repeated change one change."""
