"""A change from its beginning to the end of its work: ledger, recovery, evidence, submissions."""
