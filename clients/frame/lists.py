"""A list as the server with the script answers it, for the check `pages`: three pages, of which the
second has no rows.

A page is refused unless all fields but `page_token` are those of the first one.
"""

from typing import Final

from cbrgateway.v1 import types_pb2, vault_pb2

NAME: Final = "pages"
"""What a list must ask for in every page, as the name of the vault."""
_PAGES: Final = {"": (("one", "two"), "2"), "2": ((), "3"), "3": (("three",), "")}


def page(request: vault_pb2.ListVaultsRequest) -> vault_pb2.ListVaultsResponse | None:
    """None: the list does not go on like that."""
    if request.name != NAME or request.page_token not in _PAGES:
        return None
    rows, following = _PAGES[request.page_token]
    return vault_pb2.ListVaultsResponse(
        vaults=[types_pb2.Vault(id=row) for row in rows], next_page_token=following
    )
