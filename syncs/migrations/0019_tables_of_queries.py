from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("syncs", "0018_nonces_and_random_tokens")]

    operations = [
        migrations.AddField(
            model_name="confirmation",
            name="tables",
            field=models.JSONField(null=True, help_text="what the names in its query meant there"),
        ),
    ]
