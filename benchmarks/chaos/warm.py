"""Everything a runner imports, some of it only at first use: loaded once, last, before the forks."""

import gc

import anyio._backends._asyncio
import anyio.streams.tls
import anyio.to_thread
import psycopg
import sniffio
import sqlalchemy.dialects.postgresql.psycopg
import sqlalchemy.dialects.sqlite.pysqlite

from benchmarks.chaos import runner

__all__ = ["anyio", "psycopg", "runner", "sniffio", "sqlalchemy"]

gc.collect()
gc.freeze()  # a runner's collector would touch, and so copy, every page it shares
