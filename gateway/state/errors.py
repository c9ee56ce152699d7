"""Why a store did not answer."""


class StoreDown(Exception):  # noqa: N818 - a state of the store, named as its users speak of it
    """The store did not answer in time, or it was emptied since `epoch` was last called.

    Whether the call had its effect is unknown; repeat it.
    """


class StoreHeld(StoreDown):
    """Another process has the file of an embedded store."""


class WrongStore(StoreDown):
    """The store is not one that the gateway can work with, and waiting does not make it one.

    Told at the start only.
    """
