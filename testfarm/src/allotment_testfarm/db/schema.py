# SPDX-License-Identifier: Apache-2.0
"""The tables as they are now; migrations/ makes them, and a test holds the two equal.

Times are UTC epoch seconds. States, outcomes and kinds are the words of :mod:`allotment.messages.job`.
"""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("repository", sa.Text, nullable=False),
    sa.Column("branch", sa.Text, nullable=False),  # "" is the repository's HEAD
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("polled", sa.Float),  # when the repository last answered
    sa.Column("problem", sa.Text, nullable=False, server_default=""),  # why the last poll failed
    sa.Column("nightly", sa.Text, nullable=False, server_default=""),  # cron line and time zone; "": never
    sa.Column("nightly_last", sa.Float),  # when jobs were last made by it
    sa.Column("nightly_next", sa.Float),  # when they will be
)

revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("project_id", sa.ForeignKey("projects.id"), nullable=False),
    sa.Column("commit", sa.Text, nullable=False),
    sa.Column("tree", sa.Text, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("time", sa.Float, nullable=False),  # the commit's
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),  # 1, 2, ... in the order in which the farm saw them
    sa.Column("seen", sa.Float, nullable=False),
    sa.UniqueConstraint("project_id", "commit"),
    sa.UniqueConstraint("project_id", "position"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("project_id", sa.ForeignKey("projects.id"), nullable=False),
    sa.Column("revision_id", sa.ForeignKey("revisions.id"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),  # the revision's, here for the index
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("platform", sa.Text, nullable=False),
    sa.Column("timeout", sa.Float, nullable=False),
    sa.Column("options", sa.JSON, nullable=False),
    sa.Column("input_hash", sa.Text),  # of files and environment
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text),  # of the last attempt, once the job is done
    sa.Column("verdict", sa.Text),
    sa.Column("colour", sa.Text),  # the verdict's: green, red or grey
    sa.Column("verdict_detail", sa.Text, nullable=False, server_default=""),
    sa.Column("verdict_since", sa.Text),  # commit since which the release has this colour
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("started", sa.Float),  # of the first attempt
    sa.Column("ended", sa.Float),
    sa.Column("fencing", sa.Integer, nullable=False, server_default="0"),  # of the newest lease
    sa.Column("cancelled", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("avoid", sa.Text, nullable=False, server_default=""),  # test node that could not do its part ...
    sa.Column("avoid_until", sa.Float, nullable=False, server_default="0"),  # ... is passed over until then
    sa.Column("files", sa.Text),  # sha256 of the inputs that the commit holds; None: they can't be told
    sa.Column("files_problem", sa.Text, nullable=False, server_default=""),  # why they can't
    sa.Column("environment", sa.Text),  # sha256 of the inputs that the test node of the newest attempt holds
    sa.Column("proved_by", sa.Integer),  # job with the same inputs, for whose sake this one was not run
    sa.Column("compared_with", sa.Integer),  # the last job of the release that passed or failed
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),  # the highest goes first
    sa.Column("ready", sa.Float, nullable=False, server_default="0"),  # it waits at least until then: back-off
    sa.Column("is_fresh", sa.Boolean, nullable=False, server_default=sa.false()),  # run whatever was proved before
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),  # lost or infrastructure, since it last began
    sa.UniqueConstraint("revision_id", "release", "kind", "platform"),
    sa.Index(None, "state", "id"),
    sa.Index(None, "state", "priority", "id"),
    sa.Index(None, "project_id", "release", "kind", "platform", "position"),
    sa.Index(None, "files"),
    sa.Index(None, "colour", "id"),
    sa.Index(None, "release", "colour", "id"),
    sqlite_autoincrement=True,
)
# Who looks for jobs that are done and not judged reads nothing of those that are, however many there are.
sa.Index(
    "ix_jobs_unjudged",
    jobs.c.state,
    jobs.c.id,
    sqlite_where=jobs.c.verdict.is_(None),
    postgresql_where=jobs.c.verdict.is_(None),
)

inputs = sa.Table(
    "inputs",
    metadata,
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("document", sa.JSON, nullable=False),  # what it is -> which one it is
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),  # also the lease's id
    sa.Column("job_id", sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("node", sa.Text, nullable=False),
    sa.Column("engine", sa.Text, nullable=False, server_default=""),  # which gave the lease, where there are several
    sa.Column("fencing", sa.Integer, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),  # end of the lease unless it is renewed
    sa.Column("deadline", sa.Float, nullable=False),  # the engine's own limit, renewed or not
    sa.Column("ended", sa.Float),
    sa.Column("outcome", sa.Text),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("steps", sa.JSON, nullable=False),
    sa.Column("manifest", sa.Text),  # sha256
    sa.Column("result", sa.Text),  # sha256 of the result message, to know a repeated one
    sa.Column("log", sa.Text, nullable=False),  # path of the log inside the farm's folder
    sa.Column("log_bytes", sa.BigInteger, nullable=False, server_default="0"),  # once it has ended
    sa.Column("log_removed", sa.Float),  # when retention removed the log
    sa.Column("parts", sa.JSON, nullable=False, server_default="[]"),  # built or reused, with their times
    sa.Column("promises", sa.JSON, nullable=False, server_default="[]"),  # of the tested instances
    sa.UniqueConstraint("job_id", "number"),
    sa.Index(None, "ended", "expires"),
    sa.Index(None, "node", "ended"),
    sqlite_autoincrement=True,
)

# Who looks for old logs reads nothing of those that are gone.
_has_log = sa.and_(attempts.c.log_removed.is_(None), attempts.c.ended.is_not(None))
sa.Index("ix_attempts_logs", attempts.c.ended, attempts.c.id, sqlite_where=_has_log, postgresql_where=_has_log)

test_cases = sa.Table(
    "test_cases",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("attempt_id", sa.ForeignKey("attempts.id"), nullable=False, index=True),
    sa.Column("suite", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("line", sa.Integer),  # of the log, where the case is named; 1 is the first
)

nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("platform", sa.Text, nullable=False),
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("first_seen", sa.Float, nullable=False),
    sa.Column("last_seen", sa.Float, nullable=False),
    sa.Column("load", sa.Float),
    sa.Column("memory_free", sa.BigInteger),  # bytes
    sa.Column("disk_free", sa.BigInteger),  # bytes
    sa.Column("refuses", sa.Text, nullable=False, server_default=""),  # why it takes no job now; "": it does
    sa.Column("environment", sa.Text, nullable=False, server_default=""),  # sha256 of inputs; "": it has not said
)

manifests = sa.Table(
    "manifests",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("document", sa.JSON, nullable=False),  # a signed manifest
    sa.Column("attempt_id", sa.ForeignKey("attempts.id"), nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("offered", sa.Float),  # when the master accepted it
    sa.Column("problem", sa.Text, nullable=False, server_default=""),  # why the last offer failed
    sa.Column("closure", sa.Text, nullable=False, server_default=""),  # sha256, as in the document: for the index
    sa.Column("closure_gone", sa.Boolean, nullable=False, server_default=sa.false()),  # retention removes it
    sa.Index(None, "name", "created", "id"),
    sa.Index(None, "closure"),
)
# Who looks for what is to be offered reads nothing of what was accepted.
sa.Index(
    "ix_manifests_unoffered",
    manifests.c.created,
    manifests.c.id,
    sqlite_where=manifests.c.offered.is_(None),
    postgresql_where=manifests.c.offered.is_(None),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Index(None, "subject", "id"),
    sqlite_autoincrement=True,
)

duties = sa.Table(
    "duties",  # work that one engine of several does at a time
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
)
