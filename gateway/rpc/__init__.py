"""Everything that knows gRPC: the server, the way of a call, identity, and errors as gRPC
statuses.
"""
