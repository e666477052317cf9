#!/bin/sh
# Starts PostgreSQL with the password in the file, also over an index that was made with another one: that of autorthanc,
# or one whose password file was lost with its volume. The image itself sets a password only when it makes a database.
set -eu

server=$(postgres --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')

if [ -s "$PGDATA/PG_VERSION" ]; then
    index=$(cat "$PGDATA/PG_VERSION")
    if [ "$index" != "$server" ]; then
        echo "The index in the volume orthanc-index was made by PostgreSQL $index, and this is $server." \
            "Name postgres:$index as the image of index-db in docker-compose.override.yml." >&2
        exit 1
    fi
    # The password is letters, digits and a hyphen, so it needs no quoting.
    echo "ALTER ROLE postgres PASSWORD '$(cat "$POSTGRES_PASSWORD_FILE")'" \
        | postgres --single -D "$PGDATA" -c log_min_messages=warning postgres > /dev/null
fi

exec docker-entrypoint.sh postgres
