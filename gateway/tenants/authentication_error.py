"""Why a caller's credentials are not accepted.

A text says which rule failed and never repeats what the caller sent.
"""


class AuthenticationError(Exception):
    """What a caller shows does not prove who it is. The text is a sentence for the caller."""
