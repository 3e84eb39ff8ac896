//! The corpus on PostgreSQL: a database of its own, looked at as the superuser.

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::judge::{State, World, config, files, open_folder};
use super::{Login, Setting};
use crate::support::checkout;
use crate::support::postgres::{Database, connect};
use crate::support::program::Program;

/// Roles belong to all databases of a server, so these are not the ones that other tests use.
const READER: &str = "corpus_ro";
const OWNER: &str = "corpus_rw";
const PASSWORD: &str = "a-password-of-the-corpus";

/// Lines of the fixture that the newer server cannot have: extensions that it comes without, and functions whose names
/// are syntax of its own (from 17 on).
const OLDER: [&str; 4] = [
    "CREATE EXTENSION",
    "CREATE FUNCTION json_value(",
    "CREATE FUNCTION json_scalar(",
    "CREATE FUNCTION merge_action(",
];

/// The database, the folder for effects, and a session that nobody may end.
pub(crate) struct Postgres {
    database: Database,
    effects: TempDir,
    fixture: String,
    victim: Option<JoinHandle<()>>,
}

impl Postgres {
    pub(crate) async fn new() -> Option<Self> {
        let database = Database::fresh("corpus").await?;
        Some(Self::in_database(database).await)
    }

    /// On the newer server that has pgvector, and no other extension.
    pub(crate) async fn newest() -> Option<Self> {
        let database = Database::with_vectors("corpus").await?;
        let mut world = Self::in_database(database).await;
        let lines = world.fixture.lines();
        let is_there = |line: &&str| !OLDER.iter().any(|older| line.contains(older));
        let without: Vec<&str> = lines.filter(is_there).collect();
        world.fixture = without.join("\n");
        Some(world)
    }

    async fn in_database(database: Database) -> Self {
        for role in [READER, OWNER] {
            let exists = format!("SELECT 1 FROM pg_roles WHERE rolname = '{role}'");
            if database.lines(&exists).await.is_empty() {
                database.run(&format!("CREATE ROLE {role} LOGIN")).await;
            }
        }
        let folder = checkout().join("tests/corpus");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let fixture = read("fixture_postgres.sql") + &read("own_fixture_postgres.sql");
        Self {
            database,
            effects: open_folder(),
            fixture: fixture.replace("bench_ro", READER),
            victim: None,
        }
    }

    /// A sleeping session of the same login, so that only the guard keeps it alive.
    async fn lay_out_victim(&mut self, login: Login) {
        if self
            .victim
            .as_ref()
            .is_some_and(|victim| !victim.is_finished())
        {
            return;
        }
        let mut url = self.database.url.clone();
        if login != Login::All {
            url.set_username(user(login)).unwrap();
            url.set_password(Some(PASSWORD)).unwrap();
        }
        let client = connect(&url, "victim").await;
        let sleep = async move {
            let _ended = client.simple_query("SELECT pg_sleep(100000)").await;
        };
        self.victim = Some(tokio::spawn(sleep));
    }
}

impl World for Postgres {
    async fn reset(&mut self, setting: &Setting) {
        // What an earlier case left in a pooled connection must not stop the fixture.
        self.database
            .run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'")
            .await;
        // `DISCARD` runs alone: what the judge itself did with its session goes.
        self.database.run("DISCARD ALL").await;
        for role in [READER, OWNER] {
            self.database
                .run(&format!("ALTER ROLE {role} RESET ALL"))
                .await;
        }
        self.database.run(&self.fixture).await;
        self.database
            .run(&format!(
                "ALTER ROLE {READER} PASSWORD '{PASSWORD}'; ALTER ROLE {OWNER} PASSWORD '{PASSWORD}'"
            ))
            .await;
        self.database.run(GRANTS).await;
        self.database
            .run(if setting.login == Login::Owner {
                OWNED
            } else {
                ""
            })
            .await;
        for entry in std::fs::read_dir(self.effects.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        if let Some(victim) = self.victim.take() {
            victim.abort();
        }
        self.lay_out_victim(setting.login).await;
    }

    async fn state(&mut self) -> State {
        let mut state = State::new();
        files(self.effects.path(), &mut state);
        let lives = self
            .victim
            .as_ref()
            .is_some_and(|victim| !victim.is_finished());
        state.insert("the victim's session lives".into(), lives.to_string());
        let tables = self.database.lines(TABLES).await;
        let contents: Vec<String> = tables.iter().map(|table| contents(table)).collect();
        for line in self.database.lines(&contents.join(" UNION ALL ")).await {
            let (name, rows) = line.split_once('|').unwrap();
            state.insert(format!("rows of {name}"), rows.to_owned());
        }
        for line in self.database.lines(&facts()).await {
            let (name, fact) = line.split_once('|').unwrap();
            state.insert(name.to_owned(), fact.to_owned());
        }
        state
    }

    fn harm(&self) -> Vec<String> {
        let copy = format!("COPY (SELECT 1) TO '{}/x'", self.effects.path().display());
        HARM.iter()
            .map(|&sql| sql.to_owned())
            .chain([copy])
            .collect()
    }

    async fn run(&mut self, sql: &str) {
        self.database.run(sql).await;
    }

    fn program(&self, setting: &Setting) -> Program {
        let (user, password) = match setting.login {
            Login::All => (self.database.url.username(), self.database.password()),
            login @ (Login::Reader | Login::Owner) => (user(login), PASSWORD.to_owned()),
        };
        let url = self.database.url_for(user);
        Program::with_config(&config(url.as_str(), true, setting))
            .variable("TEST_PASSWORD", &password)
    }

    fn own(&self) -> Vec<(&'static str, String)> {
        vec![
            ("{EFFECTS}", self.effects.path().display().to_string()),
            ("bench_ro", READER.to_owned()),
        ]
    }
}

fn user(login: Login) -> &'static str {
    match login {
        Login::Owner => OWNER,
        Login::Reader | Login::All => READER,
    }
}

const HARM: &[&str] = &[
    "DELETE FROM orders WHERE id = 1",
    "UPDATE users SET name = 'x' WHERE id = 1",
    "SELECT nextval('seq1')",
    "SELECT setval('seq1', 1, true)",
    "SELECT lo_create(0)",
    "SELECT lo_put(12345, 0, 'x')",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'",
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'",
    "CREATE TEMP TABLE x (a int)",
    "CREATE VIEW x AS SELECT 1",
    "CREATE OR REPLACE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE INDEX ON users (name)",
    "ALTER TABLE users DISABLE TRIGGER ALL",
    "COMMENT ON TABLE users IS 'x'",
    "GRANT ALL ON users TO PUBLIC",
    "GRANT SELECT (name) ON users TO PUBLIC",
    "ALTER ROLE corpus_ro SUPERUSER",
    "CREATE ROLE x_r",
    "ALTER ROLE corpus_ro SET work_mem = '1MB'",
    "SELECT pg_reload_conf()",
    "SELECT pg_replication_origin_create('x_o')",
    "SELECT pg_create_logical_replication_slot('x_s', 'pgoutput')",
    "REFRESH MATERIALIZED VIEW mv",
    "ANALYZE users",
];

/// The value of a sequence and the plan of a write need these, and they make the reader stronger.
const GRANTS: &str = "
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO corpus_ro;
GRANT INSERT, UPDATE, DELETE ON orders TO corpus_ro;
";

/// Gives everything in the schema to the owner.
const OWNED: &str = "
ALTER SCHEMA public OWNER TO corpus_rw;
DO $$ DECLARE r record; BEGIN
  FOR r IN SELECT oid::regclass AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm') LOOP
    EXECUTE format('ALTER TABLE %s OWNER TO corpus_rw', r.name); END LOOP;
  FOR r IN SELECT oid::regclass AS name FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'a') LOOP
    EXECUTE format('ALTER SEQUENCE %s OWNER TO corpus_rw', r.name); END LOOP;
  FOR r IN SELECT oid::regprocedure AS name FROM pg_proc p WHERE pronamespace = 'public'::regnamespace AND prokind IN ('f', 'p')
    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') LOOP
    EXECUTE format('ALTER ROUTINE %s OWNER TO corpus_rw', r.name); END LOOP;
END $$;";

const TABLES: &str = "SELECT c.oid::regclass, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'm', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    AND NOT pg_is_other_temp_schema(n.oid) ORDER BY 1";

/// A query for the name of a relation and a digest of its rows; `table` is one line of [`TABLES`].
fn contents(table: &str) -> String {
    let (name, kind) = table.rsplit_once('|').unwrap();
    let row = match kind {
        "S" => "concat_ws('|', t.last_value, t.is_called)",
        _ => "t::text",
    };
    format!(
        "SELECT $t${name}$t$::text, md5(coalesce(string_agg({row}, E'\\n' ORDER BY {row}), '')) FROM {name} t"
    )
}

/// One `SELECT name, fact` for everything that is no row of a table.
fn facts() -> String {
    let queries: Vec<String> = FACTS
        .iter()
        .map(|(name, fact, from)| {
            format!("(SELECT '{name}', md5(coalesce(string_agg(f, E'\\n' ORDER BY f), '')) || ' ' || count(*) FROM (SELECT concat_ws('|', {fact}) AS f FROM {from}) s)")
        })
        .collect();
    queries.join(" UNION ALL ")
}

/// What is looked at: its name, the columns, and where they come from.
const FACTS: &[(&str, &str, &str)] = &[
    (
        "relations",
        "n.nspname, c.relname, c.relkind, c.relowner, c.relacl, c.relfilenode, c.reltuples, c.relpersistence, c.relrowsecurity, c.reloptions",
        "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg_toast_temp%'",
    ),
    (
        "columns",
        "a.attrelid::regclass, a.attname, a.atttypid, a.attnotnull, a.attacl, a.attisdropped",
        "pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')",
    ),
    (
        "functions",
        "p.oid::regprocedure, p.proowner, p.proacl, p.prosrc, p.provolatile, p.proconfig",
        "pg_proc p WHERE p.oid >= 16384",
    ),
    (
        "types",
        "t.oid, t.typname, t.typowner, t.typacl",
        "pg_type t WHERE t.oid >= 16384",
    ),
    (
        "operators",
        "o.oid, o.oprname, o.oprcode",
        "pg_operator o WHERE o.oid >= 16384",
    ),
    (
        "constraints",
        "c.oid, c.conname, c.convalidated",
        "pg_constraint c WHERE c.oid >= 16384",
    ),
    (
        "indexes",
        "i.indexrelid::regclass, i.indisvalid, pg_relation_size(i.indexrelid)",
        "pg_index i WHERE i.indexrelid >= 16384",
    ),
    ("triggers", "t.oid, t.tgname, t.tgenabled", "pg_trigger t"),
    (
        "event triggers",
        "t.evtname, t.evtenabled",
        "pg_event_trigger t",
    ),
    (
        "rules",
        "r.oid, r.rulename, r.ev_enabled",
        "pg_rewrite r WHERE r.oid >= 16384",
    ),
    ("policies", "p.oid, p.polname", "pg_policy p"),
    (
        "comments",
        "d.objoid, d.classoid, d.objsubid, d.description",
        "pg_description d WHERE d.objoid = 0 OR d.objoid >= 16384",
    ),
    (
        "schemas",
        "n.nspname, n.nspowner, n.nspacl",
        "pg_namespace n WHERE n.nspname NOT LIKE 'pg_temp%' AND n.nspname NOT LIKE 'pg_toast_temp%'",
    ),
    ("extensions", "e.extname, e.extversion", "pg_extension e"),
    (
        "collations",
        "c.oid, c.collname",
        "pg_collation c WHERE c.oid >= 16384",
    ),
    ("languages", "l.lanname, l.lanacl", "pg_language l"),
    (
        "casts",
        "c.oid, c.castsource, c.casttarget",
        "pg_cast c WHERE c.oid >= 16384",
    ),
    ("publications", "p.pubname", "pg_publication p"),
    (
        "foreign servers",
        "s.srvname, s.srvoptions",
        "pg_foreign_server s",
    ),
    (
        "default privileges",
        "d.oid, d.defaclacl",
        "pg_default_acl d",
    ),
    (
        "large objects",
        "l.oid, l.lomowner, l.lomacl, md5(lo_get(l.oid))",
        "pg_largeobject_metadata l",
    ),
    (
        "roles",
        "r.rolname, r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls, r.rolpassword, r.rolvaliduntil",
        "pg_authid r WHERE r.rolname ~ '^(corpus|x_|postgres$|pg_)'",
    ),
    (
        "memberships",
        "m.roleid::regrole, m.member::regrole",
        "pg_auth_members m WHERE m.member::regrole::text ~ '^(corpus|x_)'",
    ),
    (
        "settings of roles and databases",
        "s.setdatabase, s.setrole, s.setconfig",
        "pg_db_role_setting s WHERE s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())",
    ),
    (
        "settings of the server",
        "pg_read_file('postgresql.auto.conf'), pg_conf_load_time()",
        "(VALUES (1)) v",
    ),
    (
        "this database",
        "d.datname, d.datacl, d.datdba, d.datallowconn",
        "pg_database d WHERE d.datname IN (current_database(), 'template1')",
    ),
    ("replication slots", "s.slot_name", "pg_replication_slots s"),
    ("replication origins", "o.roname", "pg_replication_origin o"),
    (
        "prepared transactions",
        "p.gid",
        "pg_prepared_xacts p WHERE p.database = current_database()",
    ),
    (
        "advisory locks",
        "l.classid, l.objid",
        "pg_locks l WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    ),
    (
        "open transactions",
        "a.pid",
        "pg_stat_activity a WHERE a.datname = current_database() AND a.state LIKE 'idle in transaction%'",
    ),
    (
        "running statements",
        "a.pid",
        // Not ours that look into the catalogue from time to time: a request's is called by the request.
        "pg_stat_activity a WHERE a.datname = current_database() AND a.state = 'active' AND a.pid <> pg_backend_pid() AND a.application_name NOT IN ('victim', 'secondkey')",
    ),
    (
        "statistics reset",
        "d.stats_reset",
        "pg_stat_database d WHERE d.datname = current_database()",
    ),
];
