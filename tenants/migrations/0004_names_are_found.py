"""People and tenants are found by their names: how a name is compared, and the indexes for it."""

import django.contrib.postgres.indexes
from django.db import migrations, models
from django.db.models.functions import Collate

# What people leave out when they type a name: case, accents, and letters that no keyboard of theirs
# has. Not STRICT, so that the planner takes it apart where it is called: an index over a million
# names is built in half the time. The shortest that tells names apart fits into an index entry.
NAME_KEY = r"""
CREATE FUNCTION rainbo_name_key(name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN left(ltrim(CASE
    WHEN octet_length(name) = char_length(name) THEN lower(name COLLATE "C")
    ELSE replace(replace(replace(translate(
        lower(regexp_replace(normalize(name, NFKD), U&'[\0300-\036F]', '', 'g') COLLATE "C"),
        'ØøŁłĐđıÆŒẞ’‘ʼ‐АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЄІΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ',
        'oollddiæœß''''''-абвгдежзийклмнопрстуфхцчшщъыьэюяєіαβγδεζηθικλμνξοπρστυφχψω'),
        'æ', 'ae'), 'œ', 'oe'), 'ß', 'ss')
    END), 200)
"""

NAME_WORDS = """
CREATE FUNCTION rainbo_name_words(name text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_to_tsvector(array_remove(string_to_array(rainbo_name_key(name), ' '), ''))
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0003_last_examinations")]
    operations = [
        migrations.RunSQL(NAME_KEY, "DROP FUNCTION rainbo_name_key(text)"),
        migrations.RunSQL(NAME_WORDS, "DROP FUNCTION rainbo_name_words(text)"),
        migrations.AddIndex(
            model_name="userroute",
            index=models.Index(
                Collate(models.Func("user_name", function="rainbo_name_key"), "C"),
                name="routes_by_name",
            ),
        ),
        migrations.AddIndex(
            model_name="tenant",
            index=django.contrib.postgres.indexes.GinIndex(
                models.Func("name", function="rainbo_name_words"), name="tenants_by_word"
            ),
        ),
    ]
