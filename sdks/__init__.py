"""Clients of CBR that others keep, unchanged, against the emulator: `make test-sdks`.

What each shows is in emulator/README.md.
"""
