"""The tasks of each project, polled once for all who watch them: table, hub, subscriptions and
streams.
"""
