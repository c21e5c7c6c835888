"""Catalogs of an older mien, brought up to this one's schema where they are."""

from __future__ import annotations

from sqlalchemy import Column, Connection, func, insert, inspect, select, update
from sqlalchemy.schema import CreateColumn, CreateIndex

from mien.ingest.catalog import counters, schema

OLDEST = 1


def upgrade(connection: Connection, found: int) -> int:
    """The version that the catalog has afterwards: it stays as it is where it is too old, or newer."""
    if not OLDEST <= found < schema.VERSION:
        return found
    schema.metadata.create_all(connection)
    for table in schema.metadata.sorted_tables:
        there = {column["name"] for column in inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in there:
                _add_column(connection, table.name, column)
        for index in table.indexes:
            connection.execute(CreateIndex(index, if_not_exists=True))
    if found < 2:
        connection.exec_driver_sql("DROP INDEX IF EXISTS videos_queue")  # videos_turn is in its place
        _count_media(connection)
    connection.execute(update(schema.schema_version).values(version=schema.VERSION))
    return schema.VERSION


def _add_column(connection: Connection, table: str, column: Column[object]) -> None:
    """What is not NULL needs a default for the rows that are there."""
    written = CreateColumn(column).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {written}")


def _count_media(connection: Connection) -> None:
    """What version 1 had and did not count."""
    media = schema.media
    totals = select(func.count().label("files"), func.coalesce(func.sum(media.c.bytes), 0).label("size"))
    row = connection.execute(totals.select_from(media)).one()
    sums = {counters.FETCHED: float(row.files), counters.FETCHED_BYTES: float(row.size)}
    connection.execute(
        insert(schema.tallies),
        [{"run_id": counters.NOBODY, "name": name, "value": value} for name, value in sums.items()],
    )
