#!/bin/sh
# Run once by the image of PostgreSQL, on an empty volume: RAINBO's role is no superuser.
set -eu
psql --quiet --set ON_ERROR_STOP=1 --username postgres --dbname postgres <<SQL
CREATE ROLE rainbo LOGIN PASSWORD '$RAINBO_DB_PASSWORD';
CREATE DATABASE rainbo OWNER rainbo ENCODING 'UTF8' TEMPLATE template0;
SQL
