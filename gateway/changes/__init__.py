"""A change from its beginning to the end of the work that it started: the ledger, recovery,
evidence, and submissions.
"""
