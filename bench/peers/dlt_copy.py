"""dlt from PostgreSQL to PostgreSQL by its fastest backend for reading (connectorx).

Run as a program in the peers' environment: SOURCE TARGET NAME replace|upsert.
"""

from __future__ import annotations

import sys

import dlt
from dlt.sources.sql_database import sql_table

source, target, name, way = sys.argv[1:]
table = sql_table(
    source.replace("postgresql://", "postgresql+psycopg2://"),
    table="user_email_routing",
    backend="connectorx",
    backend_kwargs={"conn": source},
    chunk_size=100_000,
).with_name("routes")
table.apply_hints(table_name="routes", primary_key="id")
pipeline = dlt.pipeline(name, destination=dlt.destinations.postgres(target), dataset_name="peer")
pipeline.run(
    table,
    write_disposition="replace"
    if way == "replace"
    else {"disposition": "merge", "strategy": "upsert"},
    loader_file_format="csv",
)
