"""Why a caller is not believed. A text says which rule failed and never repeats what the caller sent."""


class NotBelieved(Exception):  # noqa: N818 - says what is the case
    """What a caller shows does not prove who it is. The text is a sentence for the caller."""
