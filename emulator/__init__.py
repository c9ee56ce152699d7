"""A CBR v3 that runs on your own machine.

An HTTP server with the vendor's paths, bodies, states, error codes, request signing and tokens, for
development and tests without a cloud account. It keeps its state in memory and forgets it on exit.
It knows nothing of any client: it was written from the vendor's manual, and the vendor's own SDK
runs against it unchanged.
"""
