"""Forks: from which checkpoint of its parent a job began, and with which changes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("training_jobs", sa.Column("fork", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("training_jobs", "fork")
