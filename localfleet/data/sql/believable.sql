-- What believable data is made of: chances and names that come from a hash, so that the same ones
-- appear everywhere.
CREATE OR REPLACE FUNCTION pg_temp.chance(what text, number bigint) RETURNS float8
IMMUTABLE LANGUAGE sql
RETURN ('x' || left(md5(what || '/' || number), 8))::bit(32)::bigint / 4294967296.0;

CREATE OR REPLACE FUNCTION pg_temp.one_of(words text[], what text, number bigint) RETURNS text
IMMUTABLE LANGUAGE sql
RETURN words[1 + floor(pg_temp.chance(what, number) * cardinality(words))::int];

CREATE OR REPLACE FUNCTION pg_temp.first_name(what text, number bigint) RETURNS text
IMMUTABLE LANGUAGE sql
RETURN pg_temp.one_of('{Aaliyah,Adam,Amara,Amelia,Andrés,Anna,Arjun,Aylin,Ben,Camille,Carlos,
Chloé,Daniel,Daria,David,Elena,Elif,Emma,Erik,Fatima,Felix,Freya,Grace,Hana,Hugo,Ida,Ines,Ivan,
Jana,Jonas,José,Julia,Kenji,Lars,Lea,Leila,Liam,Lucía,Maja,Malik,Marco,Maria,Mateo,Mei,Mia,Milan,
Nadia,Noah,Nora,Olga,Omar,Paul,Petra,Priya,Rosa,Samuel,Sara,Sofia,Thomas,Tim,Uma,Viktor,Yusuf,Zoë}',
what || ' first', number);

CREATE OR REPLACE FUNCTION pg_temp.last_name(what text, number bigint) RETURNS text
IMMUTABLE LANGUAGE sql
RETURN pg_temp.one_of('{Abbott,Ahmed,Andersen,Bauer,Becker,Bennett,Berg,Bianchi,Brown,Carter,Chen,
Costa,Dahl,Delgado,Dubois,Evans,Fischer,Fontaine,García,Gomez,Gruber,Hall,Hansen,Hassan,Hoffmann,
Ibrahim,Ito,Ivanov,Jensen,Johnson,Kaya,Keller,Khan,Kim,Kovács,Kowalski,Kumar,Larsen,Laurent,Lee,
Lindqvist,Lopez,Maier,Martin,Mehta,Meyer,Moreau,Müller,Nakamura,Nguyen,Novak,O''Brien,Okafor,Olsen,
Patel,Pereira,Petrov,Price,Quinn,Reid,Ricci,Rossi,Roy,Sato,Schmidt,Schneider,Silva,Singh,Smith,
Suzuki,Svensson,Takács,Torres,Varga,Vogel,Wagner,Walsh,Weber,Wong,Yilmaz}', what || ' last', number);

-- The letters that e-mail addresses of these people are made of.
CREATE OR REPLACE FUNCTION pg_temp.plain(name text) RETURNS text
IMMUTABLE LANGUAGE sql
RETURN translate(lower(name), 'áéëíóöúüÉ'' ', 'aeeiooouue');
