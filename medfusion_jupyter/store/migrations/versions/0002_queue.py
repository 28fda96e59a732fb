"""A queue of jobs and executions, cross-validations, metrics in order, counts of each status, parents of models."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from medfusion_jupyter.store.tables import UtcDateTime

revision = "0002"
down_revision = "0001"

# a table that SQLite makes anew counts its ids up as before
COUNTED: dict[str, Any] = {"table_kwargs": {"sqlite_autoincrement": True}}
PARENT = "fk_models_parent_id"
NODE = ["execution_id", "node_id"]
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _added() -> dict[str, list[sa.Column[Any]]]:
    # made anew for each use: a column belongs to one table
    return {
        "training_jobs": [
            sa.Column("queue", sa.Text(), nullable=True),
            sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("not_before", UtcDateTime(), nullable=True),
            sa.Column("launched_at", UtcDateTime(), nullable=True),
            sa.Column("gpu", sa.Integer(), nullable=True),
            sa.Column("fold", sa.Integer(), nullable=True),
            sa.Column("num_folds", sa.Integer(), nullable=True),
            sa.Column("folds_done", sa.Integer(), nullable=True),
        ],
        "workflow_executions": [
            sa.Column("created_at", UtcDateTime(), nullable=False, server_default="1970-01-01 00:00:00"),
            sa.Column("created_by", sa.String(length=200), nullable=True),
            sa.Column("stop_requested_at", UtcDateTime(), nullable=True),
            sa.Column("run_token", sa.String(length=40), nullable=True),
            sa.Column("host", sa.String(length=255), nullable=True),
            sa.Column("pid", sa.Integer(), nullable=True),
            sa.Column("process_started", sa.Double(), nullable=True),
            sa.Column("kernel_id", sa.String(length=100), nullable=True),
            sa.Column("heartbeat_at", UtcDateTime(), nullable=True),
            sa.Column("queue", sa.Text(), nullable=True),
            sa.Column("launched_at", UtcDateTime(), nullable=True),
            sa.Column("gpu", sa.Integer(), nullable=True),
        ],
        "models": [sa.Column("updated_at", UtcDateTime(), nullable=False, server_default="1970-01-01 00:00:00")],
        "datasets": [sa.Column("analysis", sa.JSON(), nullable=True)],
    }


INDEXES = {
    "training_jobs": [["name", "id"], ["parent_job_id"], ["workflow_execution_id"]],
    "models": [["dataset_fingerprint"], ["parent_id"]],
}


def upgrade() -> None:
    for table, columns in _added().items():
        for column in columns:
            op.add_column(table, column)
    with op.batch_alter_table("models", **COUNTED) as models:
        models.add_column(sa.Column("parent_id", KEY, nullable=True))
        models.create_foreign_key(PARENT, "models", ["parent_id"], ["id"])
    op.execute("UPDATE models SET updated_at = created_at")
    op.create_index(_named("node_runs", NODE), "node_runs", NODE, unique=True)
    for table, indexes in INDEXES.items():
        for indexed in indexes:
            op.create_index(_named(table, indexed), table, indexed)
    op.create_table(
        "job_counts",
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("status", name=op.f("pk_job_counts")),
    )
    op.execute("INSERT INTO job_counts (status, number) SELECT status, count(*) FROM training_jobs GROUP BY status")
    latest = op.create_table(
        "job_latest_metrics",
        sa.Column("job_id", KEY, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["training_jobs.id"], name=op.f("fk_job_latest_metrics_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "name", name=op.f("pk_job_latest_metrics")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        _named("job_latest_metrics", ["name", "value", "job_id"]), "job_latest_metrics", ["name", "value", "job_id"]
    )
    jobs = sa.table("training_jobs", sa.column("id", KEY), sa.column("current_metrics", sa.JSON()))
    for pk, metrics in op.get_bind().execute(sa.select(jobs.c.id, jobs.c.current_metrics)).all():
        known = {
            name: float(value)
            for name, value in (metrics or {}).items()
            if name.startswith(("train/", "val/")) and isinstance(value, int | float)
        }
        if known:
            op.bulk_insert(latest, [{"job_id": pk, "name": name, "value": value} for name, value in known.items()])


def downgrade() -> None:
    op.drop_table("job_latest_metrics")
    op.drop_table("job_counts")
    op.drop_index(_named("node_runs", NODE), "node_runs")
    for table, indexes in INDEXES.items():
        for indexed in indexes:
            op.drop_index(_named(table, indexed), table)
    with op.batch_alter_table("models", **COUNTED) as models:
        models.drop_constraint(PARENT, type_="foreignkey")
        models.drop_column("parent_id")
    for table, columns in _added().items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} DROP COLUMN {column.name}")


def _named(table: str, columns: list[str]) -> str:
    return str(op.f(f"ix_{table}_{'_'.join(columns)}"))
