"""What a verification found, kept with its replay."""

from __future__ import annotations

import sqlalchemy as sa

from webapp.store.columns import LongText
from webapp.store.migrations.steps import add_column

revision = "home_0002"
down_revision = "home_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_column("projectionist_replays", sa.Column("result", LongText()))
