"""What the tests of the gateway and those of its clients have in common.

It knows no other part of this tree.
"""
