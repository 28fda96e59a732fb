"""An index of what is pending and in somebody's hands: who looks for runs that are gone passes over those that only wait."""

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"

TABLES = ("training_jobs", "workflow_executions")
TAKEN = text("status = 'pending' AND (queue IS NULL OR run_token IS NOT NULL OR launched_at IS NOT NULL)")


def upgrade() -> None:
    for table in TABLES:
        op.create_index(op.f(f"ix_{table}_taken"), table, ["status"], sqlite_where=TAKEN, postgresql_where=TAKEN)


def downgrade() -> None:
    for table in TABLES:
        op.drop_index(op.f(f"ix_{table}_taken"), table)
