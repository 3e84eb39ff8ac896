-- Objects that take over calls which look built in. Loaded after fixture_postgres.sql.
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE moods (a int, b mood);
INSERT INTO moods VALUES (1, 'sad'), (2, 'happy');
CREATE FUNCTION mood_hit(a mood, b mood) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.orders; RETURN true; END $$;
CREATE OPERATOR ~~~~ (FUNCTION = mood_hit, LEFTARG = mood, RIGHTARG = mood);
CREATE FUNCTION abs(a mood, b mood) RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.orders; RETURN 1; END $$;
CREATE FUNCTION cardinality(a mood[]) RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.orders; RETURN 1; END $$;
CREATE FUNCTION defaulted(a int DEFAULT wipe()) RETURNS int LANGUAGE sql AS 'SELECT a';
CREATE VIEW v_defaults AS SELECT defaulted() AS a;
CREATE FUNCTION initcap(a int DEFAULT wipe(), b int DEFAULT 1, c int DEFAULT 2) RETURNS int LANGUAGE sql AS 'SELECT a';
CREATE FUNCTION json_value(a jsonb, b text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.orders; RETURN 1; END $$;
CREATE FUNCTION json_scalar(a int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.orders; RETURN 1; END $$;
CREATE FUNCTION merge_action() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.orders; RETURN 1; END $$;
CREATE FUNCTION uuid() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.orders; RETURN 1; END $$;
CREATE FUNCTION sdef(a text, b int DEFAULT wipe()) RETURNS int LANGUAGE sql AS 'SELECT b';
GRANT SELECT ON ALL TABLES IN SCHEMA public TO bench_ro;
