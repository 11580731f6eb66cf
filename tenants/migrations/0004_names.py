"""How names are compared, and how people are found by theirs."""

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

# Words are what stands between ASCII's own marks, whatever the collation of the database.
NAME_WORDS = r"""
CREATE FUNCTION rainbo_name_words(name text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_remove(
    regexp_split_to_array(rainbo_name_key(name), E'[\\x01-/:-@[-`{-\\x7f]+'), '')
"""

WORD_QUERY = """
CREATE FUNCTION rainbo_word_query(given text) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT string_agg(format('''%s'':*', word), ' & ')::tsquery
          FROM unnest(rainbo_name_words(given)) AS word)
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0003_last_examinations")]
    operations = [
        migrations.RunSQL(NAME_KEY, "DROP FUNCTION rainbo_name_key(text)"),
        migrations.RunSQL(NAME_WORDS, "DROP FUNCTION rainbo_name_words(text)"),
        migrations.RunSQL(WORD_QUERY, "DROP FUNCTION rainbo_word_query(text)"),
        migrations.AddIndex(
            model_name="userroute",
            index=models.Index(
                Collate(models.Func("user_name", function="rainbo_name_key"), "C"),
                name="routes_by_name",
            ),
        ),
    ]
