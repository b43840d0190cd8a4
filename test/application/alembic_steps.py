"""Runs Alembic as an application does: its own environment and revisions, on a database under its own role.

Reads a JSON object on stdin: `url` of the database; `reference`, the URL of one whose tables are the models; `revisions`,
each with `revision`, `down_revision` and SQL for `upgrade` and `downgrade`; `steps`, each an array: ["upgrade", "head"],
["downgrade", REVISION], ["check"], ["autogenerate"], ["current"]. Prints what each step gave as one JSON array.
"""

import io
import json
import pathlib
import sys
import tempfile

import sqlalchemy
from alembic import autogenerate, command, migration, util
from alembic.config import Config

ENVIRONMENT = """
import sqlalchemy
from alembic import context

attributes = context.config.attributes
engine = sqlalchemy.create_engine(attributes["url"], poolclass=sqlalchemy.pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=attributes["metadata"])
    with context.begin_transaction():
        context.run_migrations()
"""

REVISION = """
from alembic import op

revision = {revision!r}
down_revision = {down_revision!r}


def upgrade():
    for sql in {upgrade!r}:
        op.execute(sql)


def downgrade():
    for sql in {downgrade!r}:
        op.execute(sql)
"""


def driver_url(url):
    return url.replace("postgresql://", "postgresql+psycopg2://", 1)


def models(url):
    metadata = sqlalchemy.MetaData()
    metadata.reflect(sqlalchemy.create_engine(driver_url(url)))
    version = metadata.tables.get("alembic_version")
    if version is not None:
        metadata.remove(version)
    return metadata


def differences(url, metadata):
    """What `alembic revision --autogenerate` would write: empty where the database is what the models say."""
    with sqlalchemy.create_engine(driver_url(url)).connect() as connection:
        context = migration.MigrationContext.configure(connection)
        return [str(one) for one in autogenerate.compare_metadata(context, metadata)]


def run(request, folder):
    (folder / "versions").mkdir()
    (folder / "env.py").write_text(ENVIRONMENT)
    for one in request["revisions"]:
        (folder / "versions" / (one["revision"] + ".py")).write_text(REVISION.format(**one))
    output = io.StringIO()
    config = Config(stdout=output)
    config.set_main_option("script_location", str(folder))
    metadata = models(request["reference"])
    config.attributes.update(url=driver_url(request["url"]), metadata=metadata)
    for name, *arguments in request["steps"]:
        if name == "autogenerate":
            yield differences(request["url"], metadata)
        elif name == "check":
            try:
                command.check(config)
                yield "clean"
            except util.exc.CommandError as error:
                yield str(error)
        elif name == "current":
            output.seek(0)
            output.truncate()
            command.current(config)
            yield output.getvalue().split()[:1]
        else:
            getattr(command, name)(config, *arguments)
            yield "done"


with tempfile.TemporaryDirectory() as temporary:
    print(json.dumps(list(run(json.load(sys.stdin), pathlib.Path(temporary)))))
