"""The audit log: who asked for what, whether it was sent, and how it ended, in records that cannot
be changed unnoticed.
"""
