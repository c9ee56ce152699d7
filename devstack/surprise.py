"""How a step of the demonstration says that it got something else than it came for."""


class Surprise(Exception):  # noqa: N818 - says what it is
    """The gateway answered something else than the story expects."""


def expect(holds: bool, what: str) -> None:  # noqa: FBT001 - reads like an assertion
    """Raises Surprise with `what` unless the fact holds."""
    if not holds:
        raise Surprise(what)
