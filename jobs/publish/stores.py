"""Which store the settings ask for."""

from __future__ import annotations

from jobs.publish.store import PdpStore
from jobs.settings import Settings


def open_store(settings: Settings) -> PdpStore:
    """The PDP store of the settings; opens no connection yet. Imports only the client that is needed."""
    s = settings.store
    if s.kind == "sqlite":
        from jobs.publish.sqlite_store import SqliteStore

        return SqliteStore(s.path)
    from jobs.publish.dynamo_store import DynamoStore

    return DynamoStore(s.table_prefix, region=s.region, endpoint_url=s.endpoint_url)
