"""Alembic's entry: runs the migrations on the connection that `migrate.py` hands in."""

from alembic import context

from medfusion_jupyter.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
context.run_migrations()
