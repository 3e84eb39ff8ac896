//! The corpus on MariaDB and MySQL: the schema `atk`, looked at with all privileges.

use tempfile::TempDir;

use super::judge::{State, World, config, files, open_folder};
use super::{Login, Setting};
use crate::support::checkout;
use crate::support::mariadb::Server;
use crate::support::program::Program;

const PASSWORD: &str = "a-password-of-the-corpus";

/// The server and the folder for effects.
pub(crate) struct MariaDb {
    server: Server,
    effects: TempDir,
    fixture: String,
    flavour: Flavour,
}

/// Whose server it is.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Flavour {
    MariaDb,
    MySql,
}

impl MariaDb {
    pub(crate) async fn new() -> Option<Self> {
        Some(Self::on(Server::connect().await?, Flavour::MariaDb).await)
    }

    /// On a server of the newest version.
    pub(crate) async fn newest() -> Option<Self> {
        Some(Self::on(Server::newest().await?, Flavour::MariaDb).await)
    }

    /// On MySQL.
    pub(crate) async fn mysql() -> Option<Self> {
        Some(Self::on(Server::mysql().await?, Flavour::MySql).await)
    }

    async fn on(mut server: Server, flavour: Flavour) -> Self {
        server.run(LOGINS).await;
        let fixture = match flavour {
            Flavour::MariaDb => "tests/corpus/fixture_mariadb.sql",
            Flavour::MySql => "tests/corpus/own_fixture_mysql.sql",
        };
        let fixture = checkout().join(fixture);
        Self {
            server,
            effects: open_folder(),
            fixture: std::fs::read_to_string(fixture).unwrap(),
            flavour,
        }
    }
}

impl World for MariaDb {
    async fn reset(&mut self, _: &Setting) {
        self.server.run(&self.fixture).await;
        for user in ["bench_ro", "bench_rw"] {
            let sql = format!("ALTER USER '{user}'@'%' IDENTIFIED BY '{PASSWORD}'");
            self.server.run(&sql).await;
        }
        // A reader that explores may see how a view is made.
        self.server
            .run("GRANT SHOW VIEW ON atk.* TO 'bench_ro'@'%'")
            .await;
        for entry in std::fs::read_dir(self.effects.path()).unwrap() {
            let path = entry.unwrap().path();
            std::fs::remove_file(path).unwrap();
        }
    }

    async fn state(&mut self) -> State {
        let mut state = State::new();
        files(self.effects.path(), &mut state);
        let tables = self.server.lines(TABLES).await;
        if !tables.is_empty() {
            let sql = format!("CHECKSUM TABLE {}", tables.join(", "));
            for line in self.server.lines(&sql).await {
                let (name, sum) = line.split_once('|').unwrap();
                state.insert(format!("rows of {name}"), sum.to_owned());
            }
        }
        for sequence in self.server.lines(SEQUENCES).await {
            let sql = format!("SELECT next_not_cached_value FROM {sequence}");
            let next = self.server.lines(&sql).await;
            state.insert(format!("sequence {sequence}"), next.join("\n"));
        }
        let own = match self.flavour {
            Flavour::MariaDb => FACTS_OF_MARIADB,
            Flavour::MySql => FACTS_OF_MYSQL,
        };
        for (name, sql) in FACTS.iter().chain(own) {
            let facts = self.server.lines(sql).await;
            state.insert((*name).to_owned(), facts.join("\n"));
        }
        state
    }

    fn harm(&self) -> Vec<String> {
        let file = format!(
            "SELECT 1 INTO OUTFILE '{}/x'",
            self.effects.path().display()
        );
        let sequences: &[&str] = match self.flavour {
            Flavour::MariaDb => &[
                "SELECT NEXT VALUE FOR atk.seq1",
                "SELECT SETVAL(atk.seq1, 5000)",
            ],
            Flavour::MySql => &[],
        };
        let all = HARM.iter().chain(sequences);
        all.map(|&sql| sql.to_owned()).chain([file]).collect()
    }

    async fn run(&mut self, sql: &str) {
        self.server.run(sql).await;
    }

    fn program(&self, setting: &Setting) -> Program {
        let (user, password) = match setting.login {
            Login::Reader => ("bench_ro", PASSWORD.to_owned()),
            Login::Owner => ("bench_rw", PASSWORD.to_owned()),
            Login::All => (self.server.url.username(), self.server.password()),
        };
        let url = self.server.url_for(user, "atk");
        Program::with_config(&config(url.as_str(), true, setting))
            .variable("TEST_PASSWORD", &password)
    }

    fn own(&self) -> Vec<(&'static str, String)> {
        vec![("{EFFECTS}", self.effects.path().display().to_string())]
    }
}

const HARM: &[&str] = &[
    "DELETE FROM atk.orders WHERE id = 1",
    "UPDATE atk.users SET name = 'x' WHERE id = 1",
    "SELECT GET_LOCK('a', 1)",
    "CREATE VIEW atk.x AS SELECT 1",
    "ALTER TABLE atk.users ADD x int",
    "CREATE INDEX x ON atk.users (name)",
    "RENAME TABLE atk.orders TO atk.orders2",
    "OPTIMIZE TABLE atk.users",
    "CREATE FUNCTION atk.x_f() RETURNS int RETURN 1",
    "CREATE EVENT atk.x_ev ON SCHEDULE EVERY 1 DAY DO DELETE FROM atk.orders",
    "SET GLOBAL max_connections = 10",
    "GRANT ALL ON *.* TO 'bench_ro'@'%'",
    "CREATE USER 'x'@'%'",
];

const LOGINS: &str = "
CREATE DATABASE IF NOT EXISTS bench;
CREATE USER IF NOT EXISTS 'bench'@'%';
CREATE USER IF NOT EXISTS 'bench_ro'@'%';
CREATE USER IF NOT EXISTS 'bench_rw'@'%';
GRANT ALL PRIVILEGES ON atk.* TO 'bench_rw'@'%';
";

const TABLES: &str = "SELECT CONCAT('atk.`', table_name, '`') FROM information_schema.tables
    WHERE table_schema = 'atk' AND table_type = 'BASE TABLE' ORDER BY 1";
const SEQUENCES: &str = "SELECT CONCAT('atk.`', table_name, '`') FROM information_schema.tables
    WHERE table_schema = 'atk' AND table_type = 'SEQUENCE' ORDER BY 1";

/// Everything that is no row of a table.
const FACTS: &[(&str, &str)] = &[
    (
        "tables",
        "SELECT table_name, table_type, engine, create_time, table_comment, create_options FROM information_schema.tables WHERE table_schema = 'atk' ORDER BY 1",
    ),
    (
        "columns",
        "SELECT table_name, column_name, ordinal_position, column_type, column_default, is_nullable, column_comment FROM information_schema.columns WHERE table_schema = 'atk' ORDER BY 1, 3",
    ),
    (
        "indexes",
        "SELECT table_name, index_name, column_name FROM information_schema.statistics WHERE table_schema = 'atk' ORDER BY 1, 2, 3",
    ),
    (
        "views",
        "SELECT table_name, sha2(view_definition, 256) FROM information_schema.views WHERE table_schema = 'atk' ORDER BY 1",
    ),
    (
        "routines",
        "SELECT routine_name, routine_type, sha2(routine_definition, 256) FROM information_schema.routines WHERE routine_schema = 'atk' ORDER BY 1",
    ),
    (
        "triggers",
        "SELECT trigger_name, sha2(action_statement, 256) FROM information_schema.triggers WHERE trigger_schema = 'atk' ORDER BY 1",
    ),
    (
        "events",
        "SELECT event_name, status FROM information_schema.events WHERE event_schema = 'atk' ORDER BY 1",
    ),
    (
        "schemas",
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name IN ('atk', 'bench', 'mysql') ORDER BY 1",
    ),
    (
        "grants",
        "SELECT grantee, table_schema, privilege_type FROM information_schema.schema_privileges WHERE grantee RLIKE 'bench' ORDER BY 1, 2, 3",
    ),
    (
        "grants on tables",
        "SELECT grantee, table_name, privilege_type FROM information_schema.table_privileges WHERE grantee RLIKE 'bench' ORDER BY 1, 2, 3",
    ),
    ("plugins", "SELECT name, dl FROM mysql.plugin ORDER BY 1"),
    (
        "foreign servers",
        "SELECT server_name FROM mysql.servers ORDER BY 1",
    ),
    (
        "loaded functions",
        "SELECT name, dl FROM mysql.func ORDER BY 1",
    ),
    ("named locks", "SELECT IS_USED_LOCK('a'), IS_USED_LOCK('x')"),
    (
        "open transactions",
        "SELECT count(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE p.db = 'atk' AND p.command = 'Sleep'",
    ),
    (
        "running statements",
        "SELECT count(*) FROM information_schema.processlist WHERE db = 'atk' AND command = 'Query' AND id <> connection_id()",
    ),
    ("prepared transactions", "XA RECOVER"),
];

const FACTS_OF_MARIADB: &[(&str, &str)] = &[
    (
        "rebuilt tables",
        "SELECT name, table_id FROM information_schema.innodb_sys_tables WHERE name LIKE 'atk/%' ORDER BY 1",
    ),
    (
        "logins",
        "SELECT user, host, sha2(priv, 256) FROM mysql.global_priv WHERE user RLIKE '^(bench|x|root|tests)' ORDER BY 1, 2",
    ),
    (
        "global variables",
        "SELECT variable_name, variable_value FROM information_schema.global_variables WHERE variable_name NOT LIKE 'GTID%' ORDER BY 1",
    ),
];

const FACTS_OF_MYSQL: &[(&str, &str)] = &[
    (
        "rebuilt tables",
        "SELECT name, table_id FROM information_schema.innodb_tables WHERE name LIKE 'atk/%' ORDER BY 1",
    ),
    (
        "logins",
        "SELECT user, host, sha2(CONCAT_WS('|', plugin, authentication_string, account_locked, password_expired, super_priv, file_priv, create_user_priv), 256) FROM mysql.user WHERE user RLIKE '^(bench|x|root|tests)' ORDER BY 1, 2",
    ),
    (
        "grants of all kinds",
        "SELECT grantee, privilege_type FROM information_schema.user_privileges WHERE grantee RLIKE 'bench|x|root|tests' ORDER BY 1, 2",
    ),
    (
        "global variables",
        "SELECT variable_name, variable_value FROM performance_schema.global_variables WHERE variable_name NOT LIKE 'gtid%' ORDER BY 1",
    ),
];
