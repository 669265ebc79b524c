"""Run by alembic, for the connection that `worker.adapters.history.migration` puts into its configuration."""

from alembic import context

from worker.adapters.history.migration import VERSION_TABLE
from worker.adapters.history.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
# The transaction is the caller's, so that it ends together with the lock against others.
context.run_migrations()
