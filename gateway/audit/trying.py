"""Whether a log could be taken up, found out without writing anything."""

from collections.abc import Iterable

from gateway.audit.anchors import anchors_in, genuine, last_of
from gateway.audit.chain import Keys
from gateway.audit.lock import require_free
from gateway.audit.opening import anchors_of_file
from gateway.audit.recovery import position, unreadable
from gateway.audit.settings import AuditSettings


def try_log(settings: AuditSettings, stored: Iterable[bytes]) -> None:
    """`stored`: the anchors that the gateway's store holds.

    Raises Unusable as `open_audit` does.
    """
    if settings.directory is None:
        return
    assert settings.key is not None
    keys, name, directory = Keys.of(settings.key.reveal()), settings.writer_name, settings.directory
    known = anchors_of_file(settings, directory, keys)
    known += [anchor for anchor in anchors_in(stored) if genuine(keys, anchor)]
    require_free(directory, name)
    try:
        if directory.exists():
            position(directory, name, keys, last_of(known, name), mend=False)
    except OSError as error:
        raise unreadable(directory, error) from error
