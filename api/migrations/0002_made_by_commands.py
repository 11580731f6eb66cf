"""What a command made is said to be made by the command line, as everything else of commands."""

from typing import Any

from django.db import migrations

FORMER, NAME = "manage.py", "command line"


def rename(apps: Any, _: Any) -> None:
    tokens = apps.get_model("api", "ApiToken").objects
    for field in ("created_by", "revoked_by"):
        tokens.filter(**{field: FORMER}).update(**{field: NAME})


class Migration(migrations.Migration):
    dependencies = [("api", "0001_tokens")]
    operations = [migrations.RunPython(rename, migrations.RunPython.noop)]
