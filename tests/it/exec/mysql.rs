//! MySQL and MariaDB, on the servers of `TEST_MYSQL_URL` and `TEST_MARIADB_URL`. What a refusal left alone is looked at
//! on a connection of the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use secondkey::core::answer::{Column, Row};
use secondkey::core::engine::Engine;
use secondkey::core::ids::{AgentId, RequestId, TokenId};
use secondkey::core::limits::Limits;
use secondkey::core::policy::{Decision, PolicySet, Question, Standing, decide};
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::refusal::{Code, Refusal};
use secondkey::core::review;
use secondkey::core::statement::{Effect, Statement};
use secondkey::core::target::Target;
use secondkey::core::time::Timestamp;
use secondkey::core::token::{Signer, VerifiedToken, Verifier};
use secondkey::core::work::Work;
use secondkey::exec::check::Verdict;
use secondkey::exec::{Event, Executor, ParsePool, Running, Settings};
use serde_json::{Value, json};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::support::{skip, variable};

const MARIADB: &str = "TEST_MARIADB_URL";
const MYSQL: &str = "TEST_MYSQL_URL";

const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

/// A database of a test's own, and a connection with all privileges.
struct World {
    url: Url,
    database: String,
    own: MySqlConnection,
}

/// What came of a statement.
#[derive(Debug)]
struct Answer {
    columns: Vec<Column>,
    rows: Vec<Row>,
    affected: Option<u64>,
}

impl World {
    /// An empty database called `sk_<name>` on MariaDB; `None` without a server.
    async fn new(name: &str) -> Option<Self> {
        Self::on(MARIADB, name).await
    }

    async fn on(server: &str, name: &str) -> Option<Self> {
        let Some(url) = variable(server) else {
            skip("exec::mysql", &format!("no such server ({server})"));
            return None;
        };
        let mut world = Self {
            url: url.parse().unwrap(),
            database: format!("sk_{name}"),
            own: MySqlConnection::connect(&url).await.unwrap(),
        };
        let database = world.database.clone();
        world.sql(&format!("DROP DATABASE IF EXISTS {database}; CREATE DATABASE {database} CHARACTER SET utf8mb4; USE {database};
            CREATE USER IF NOT EXISTS {database}@'%' IDENTIFIED BY 'pass word'; GRANT SELECT, SHOW VIEW, INSERT, UPDATE, DELETE ON {database}.* TO {database}@'%'")).await;
        world.url.set_path(&database);
        Some(world)
    }

    /// Runs SQL of the test's own.
    async fn sql(&mut self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        self.own.execute(sqlx::raw_sql(sql)).await.unwrap();
    }

    /// The first value of a query of the test's own, as text.
    async fn value(&mut self, sql: &str) -> String {
        let sql = AssertSqlSafe(sql.to_owned());
        let row = self.own.fetch_one(sqlx::raw_sql(sql)).await.unwrap();
        row.get_unchecked::<String, _>(0)
    }

    /// A target that allows these effects, for the login with all privileges.
    fn target(&self, allow: &[Effect]) -> Runner {
        Runner::new(self.url.as_str(), allow, true)
    }

    /// A target for reads, for a login of the database's own.
    fn reader(&self) -> Runner {
        Runner::new(self.login().as_str(), &[Effect::Read], false)
    }

    fn login(&self) -> Url {
        let mut url = self.url.clone();
        url.set_username(&self.database).unwrap();
        url.set_password(Some("pass word")).unwrap();
        url
    }
}

/// Everything between a text and its rows.
struct Runner {
    executor: Executor,
    parser: Arc<ParsePool>,
    target: Target,
    limits: Limits,
}

impl Runner {
    fn new(url: &str, allow: &[Effect], allow_privileged_login: bool) -> Self {
        let target = Target {
            name: "shop".parse().unwrap(),
            engine: Engine::MySql,
            environment: "test".into(),
            labels: BTreeMap::new(),
            allow: allow.iter().copied().collect(),
            limits: Limits::MAX,
            trusted: BTreeSet::new(),
            sync_reads: false,
            only_capabilities: false,
        };
        let settings = Settings {
            target: target.clone(),
            url: url.to_owned().into(),
            logins: BTreeMap::new(),
            allow_privileged_login,
        };
        let parser = Arc::new(ParsePool::start().unwrap());
        Self {
            executor: Executor::new(settings, Arc::clone(&parser)).unwrap(),
            parser,
            target,
            limits: Limits {
                time_ms: 5_000,
                ..Limits::DEFAULT
            },
        }
    }

    /// Judges a statement, decides, signs and verifies.
    async fn permitted(
        &self,
        sql: &str,
        params: Vec<Value>,
    ) -> Result<(VerifiedToken, Arc<Statement>), Refusal> {
        let work = Work::Sql {
            text: sql.to_owned(),
            params,
            salt: [3; 16],
        };
        let parsed = self.parser.parse(Engine::MySql, sql).await?;
        let statement = self.executor.judge(parsed, &work).await?;
        let principal = Principal::new(PrincipalKind::Ai, "test");
        let request = RequestId::new(1, [1; 10]);
        let agent = AgentId::new(1, [2; 10]);
        let (_, decision) = decide(&Question {
            capability: None,
            request: &request,
            principal: &principal,
            standing: &Standing::NONE,
            target: &self.target,
            agent: &agent,
            work: work.digest(),
            statement: &statement,
            found: None,
            limits: self.limits,
            policy: &PolicySet::starter(),
            review: &review::Settings::DEFAULT,
            approved: None,
            purpose: secondkey::core::approval::Purpose::Run,
            at: Timestamp::from_unix_ms(1_000),
        });
        let grant = match decision {
            Decision::Allow(grant) => grant,
            Decision::NeedsApproval(needed) => return Err(needed.refusal),
            Decision::Deny(refusal) => return Err(refusal),
        };
        let key = SigningKey::from_bytes(&[7; 32]);
        let verifier = Verifier::new(agent, [key.verifying_key()]);
        let token = Signer::new(key).sign(grant, TokenId::new(1, [3; 10]), NOW);
        let verified = verifier
            .verify(token.as_str().as_bytes(), work, NOW)
            .unwrap();
        Ok((verified, statement))
    }

    async fn start(
        &self,
        sql: &str,
        params: Vec<Value>,
        cancel: CancellationToken,
    ) -> Result<Running, Refusal> {
        let (token, statement) = self.permitted(sql, params).await?;
        self.executor.run(token, statement, cancel).await
    }

    async fn run(&self, sql: &str, params: Vec<Value>) -> Result<Answer, Refusal> {
        let Running {
            columns,
            mut events,
        } = self.start(sql, params, CancellationToken::new()).await?;
        let mut rows = Vec::new();
        loop {
            match events.recv().await.unwrap() {
                Event::Rows(more) => rows.extend(more),
                Event::Done { affected } => {
                    return Ok(Answer {
                        columns,
                        rows,
                        affected,
                    });
                }
                Event::Failed(refusal) => return Err(refusal),
            }
        }
    }

    async fn rows(&self, sql: &str) -> Vec<Row> {
        self.run(sql, vec![])
            .await
            .unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"))
            .rows
    }

    async fn refused(&self, sql: &str, params: Vec<Value>) -> Refusal {
        match self.run(sql, params).await {
            Err(refusal) => refusal,
            Ok(answer) => panic!("{sql} was not refused: {answer:?}"),
        }
    }
}

const TYPES: &str = "SET sql_mode = ''; CREATE TABLE v (
        i8 tinyint, u8 tinyint unsigned, b1 tinyint(1) unsigned, i16 smallint, i24 mediumint, i32 int, u32 int unsigned,
        i64 bigint, u64 bigint unsigned, z int(6) unsigned zerofill, d decimal(30,10), f float, g double, bits bit(20),
        y year, day date, zero date, moment datetime(6), midnight datetime, zeros datetime, stamp timestamp(3) NULL, t time(3), far time,
        c char(5), vc varchar(9), bin_ci varchar(9) COLLATE utf8mb4_bin, txt mediumtext, bin binary(3), vb varbinary(9), bl longblob,
        e enum('a','b'), s set('x','y'), j json, p point, n int);
        INSERT INTO v VALUES (-128, 255, 200, -32768, -8388608, -2147483648, 4294967295,
        -9223372036854775808, 18446744073709551615, 42, 12345678901234567890.0123456789, 1.1, 0.1, b'10000000000000000001',
        2024, '2024-02-29', '0000-00-00', '2024-02-29 23:59:58.123456', '2024-02-29', 0, '2024-02-29 23:59:58.5', '-12:30:00.25', '-838:59:59',
        'abc', 'Příliš 🐎', 'x', 'long', 'ab', x'00ff', x'', 'b', 'x,y', '{\"big\": 9007199254740993}', ST_GeomFromText('POINT(1 2)'), NULL)";

/// Each column with its type and its value.
const VALUES: &str = r#"[
    ["i8", "tinyint", -128],
    ["u8", "tinyint unsigned", 255],
    ["b1", "tinyint unsigned", 200],
    ["i16", "smallint", -32768],
    ["i24", "mediumint", -8388608],
    ["i32", "int", -2147483648],
    ["u32", "int unsigned", 4294967295],
    ["i64", "bigint", "-9223372036854775808"],
    ["u64", "bigint unsigned", "18446744073709551615"],
    ["z", "int unsigned", 42],
    ["d", "decimal", "12345678901234567890.0123456789"],
    ["f", "float", 1.1],
    ["g", "double", 0.1],
    ["bits", "bit", 524289],
    ["y", "year", 2024],
    ["day", "date", "2024-02-29"],
    ["zero", "date", "0000-00-00"],
    ["moment", "datetime", "2024-02-29 23:59:58.123456"],
    ["midnight", "datetime", "2024-02-29 00:00:00"],
    ["zeros", "datetime", "0000-00-00 00:00:00"],
    ["stamp", "timestamp", "2024-02-29 23:59:58.5"],
    ["t", "time", "-12:30:00.25"],
    ["far", "time", "-838:59:59"],
    ["c", "char", "abc"],
    ["vc", "varchar", "Příliš 🐎"],
    ["bin_ci", "varchar", "x"],
    ["txt", "text", "long"],
    ["bin", "binary", "0x616200"],
    ["vb", "varbinary", "0x00ff"],
    ["bl", "blob", "0x"],
    ["e", "enum", "b"],
    ["s", "char", "x,y"],
    ["j", "text", "{\"big\": 9007199254740993}"],
    ["p", "geometry", "0x000000000101000000000000000000f03f0000000000000040"],
    ["n", "int", null]
]"#;

#[tokio::test]
async fn every_type_keeps_its_value() {
    for (server, json) in [(MARIADB, "text"), (MYSQL, "json")] {
        keeps_values(server, json).await;
    }
}

/// `json` is what the server calls that type.
async fn keeps_values(server: &str, json: &str) {
    let Some(mut world) = World::on(server, "values").await else {
        return;
    };
    world.sql(TYPES).await;
    let answer = world.reader().run("SELECT * FROM v", vec![]).await.unwrap();
    let found: Vec<(String, String, Value)> = answer
        .columns
        .into_iter()
        .zip(answer.rows[0].clone())
        .map(|(column, value)| (column.name, column.type_name, value))
        .collect();
    let expected = VALUES.replace(r#"["j", "text""#, &format!(r#"["j", "{json}""#));
    let expected: Value = serde_json::from_str(&expected).unwrap();
    assert_eq!(json!(found), expected);
}

#[tokio::test]
async fn parameters_arrive_as_they_were_sent() {
    for server in [MARIADB, MYSQL] {
        take_parameters(server).await;
    }
}

async fn take_parameters(server: &str) {
    let Some(mut world) = World::on(server, "params").await else {
        return;
    };
    world.sql("CREATE TABLE t (id int)").await;
    let reader = world.reader();
    let values = vec![
        json!("x'; DROP TABLE t; -- \\"),
        json!(18_446_744_073_709_551_615_u64),
        json!(-5),
        json!(1.5),
        json!(true),
        json!(null),
        json!({"blob": "00ff"}),
    ];
    let answer = reader
        .run("SELECT ?, ?, ?, ?, ?, ?, ?", values)
        .await
        .unwrap();
    assert_eq!(
        answer.rows,
        [[
            json!("x'; DROP TABLE t; -- \\"),
            json!("18446744073709551615"),
            json!(-5),
            json!(1.5),
            json!(1),
            json!(null),
            json!("0x00ff")
        ]]
    );
}

/// MySQL by itself: what differs from MariaDB in how a statement is stopped, and in what it warns of.
#[tokio::test]
async fn mysql_ends_reads_and_changes_at_their_time() {
    let Some(mut world) = World::on(MYSQL, "times").await else {
        return;
    };
    world.sql("CREATE TABLE t (id int)").await;
    let reader = world.reader();
    let numbers = |to: u32| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {to}) SELECT count(*) FROM n"
        )
    };
    assert_eq!(reader.rows(&numbers(900)).await, [[json!(900)]]);
    let refused = reader.refused(&numbers(5_000), vec![]).await;
    assert_eq!(refused.code, Code::DatabaseError, "{refused:?}");
    let many = "SELECT count(*) FROM information_schema.collations a, information_schema.collations b, information_schema.collations c, information_schema.collations d";
    let mut slow = world.target(&[Effect::Read, Effect::Write]);
    slow.limits.time_ms = 300;
    let began = Instant::now();
    let refused = slow.refused(many, vec![]).await;
    assert_eq!(refused.code, Code::TimeLimit, "{refused:?}");
    let change = format!("INSERT INTO t {many}");
    let refused = slow.refused(&change, vec![]).await;
    assert_eq!(refused.code, Code::TimeLimit, "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(
        world.value("SELECT CAST(count(*) AS CHAR) FROM t").await,
        "0"
    );
    let running = "SELECT CAST(count(*) AS CHAR) FROM information_schema.processlist WHERE db = 'sk_times' AND info LIKE '%collations a%' AND id <> CONNECTION_ID()";
    assert_eq!(world.value(running).await, "0");
}

#[tokio::test]
async fn parameters_that_do_not_fit_are_refused() {
    let Some(mut world) = World::new("misfits").await else {
        return;
    };
    world.sql("CREATE TABLE t (id bigint unsigned, name varchar(99)); INSERT INTO t VALUES (1, 'alice'), (2, '0')").await;
    let reader = world.reader();
    let found = reader
        .run("SELECT id FROM t WHERE name = ?", vec![json!("0")])
        .await
        .unwrap();
    assert_eq!(found.rows, [[json!(2)]]);
    for (sql, params, code) in [
        (
            "SELECT id FROM t WHERE name = ?",
            vec![json!(0)],
            Code::InvalidParameter,
        ),
        (
            "SELECT id FROM t x WHERE x.name IN (?, ?)",
            vec![json!("a"), json!(false)],
            Code::InvalidParameter,
        ),
        (
            "SELECT id FROM t WHERE id = ?",
            vec![json!({"id": 1})],
            Code::InvalidParameter,
        ),
        (
            "SELECT id FROM t WHERE id = ?",
            vec![json!([1])],
            Code::InvalidParameter,
        ),
        (
            "SELECT id FROM t WHERE id = ?",
            vec![],
            Code::ParameterCount,
        ),
        ("SELECT id FROM t", vec![json!(1)], Code::ParameterCount),
    ] {
        assert_eq!(reader.refused(sql, params).await.code, code, "{sql}");
    }
    let refusal = reader
        .refused(
            "SELECT id FROM t WHERE id = ? AND name = ?",
            vec![json!(1), json!(7)],
        )
        .await;
    assert!(
        refusal.message.contains("parameter 2") && !refusal.message.contains('7'),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn changes_are_committed_whole_or_not_at_all() {
    let Some(mut world) = World::new("changes").await else {
        return;
    };
    world.sql("CREATE TABLE t (id int PRIMARY KEY, n int) ENGINE=InnoDB; INSERT INTO t VALUES (1, 1), (2, 2)").await;
    let writer = world.target(&[Effect::Read, Effect::Write]);
    let answer = writer
        .run("UPDATE t SET n = n + ? WHERE id < 9", vec![json!(10)])
        .await
        .unwrap();
    assert_eq!((answer.affected, answer.rows.len()), (Some(2), 0));
    assert_eq!(world.value("SELECT SUM(n) FROM t").await, "23");
    let answer = writer
        .run("DELETE FROM t WHERE id = 1 RETURNING id, n", vec![])
        .await
        .unwrap();
    assert_eq!(answer.rows, [[json!(1), json!(11)]]);
    assert_eq!(world.value("SELECT COUNT(*) FROM t").await, "1");
    let refusal = writer
        .refused("INSERT INTO t VALUES (3, 3), (2, 77)", vec![])
        .await;
    assert_eq!(
        (refusal.code, refusal.sqlstate.as_deref()),
        (Code::DatabaseError, Some("23000"))
    );
    assert!(
        !refusal.message.contains('2') || !refusal.message.contains("77"),
        "{refusal:?}"
    );
    assert_eq!(world.value("SELECT COUNT(*) FROM t").await, "1");
    for sql in ["DROP TABLE t", "TRUNCATE t", "CREATE TABLE u (a int)"] {
        assert_eq!(
            writer.refused(sql, vec![]).await.code,
            Code::ApprovalRequired,
            "{sql}"
        );
    }
    assert_eq!(
        writer
            .refused("SET GLOBAL max_connections = 9", vec![])
            .await
            .code,
        Code::Forbidden
    );
    assert_eq!(world.value("SELECT COUNT(*) FROM t").await, "1");
}

#[tokio::test]
async fn a_change_that_takes_too_long_leaves_nothing() {
    let Some(mut world) = World::new("slow").await else {
        return;
    };
    world
        .sql(
            "CREATE TABLE t (id int PRIMARY KEY, n int) ENGINE=InnoDB; INSERT INTO t VALUES (1, 1)",
        )
        .await;
    let mut writer = world.target(&[Effect::Read, Effect::Write]);
    writer.limits.time_ms = 300;
    let sql = "INSERT INTO t SELECT (a.seq - 1) * 100000 + b.seq + 10, 1 FROM seq_1_to_20000 a, seq_1_to_100000 b";
    let started = Instant::now();
    assert_eq!(writer.refused(sql, vec![]).await.code, Code::TimeLimit);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(world.value("SELECT COUNT(*) FROM t").await, "1");

    writer.limits.time_ms = 60_000;
    let cancel = CancellationToken::new();
    let later = cancel.clone();
    drop(tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        later.cancel();
    }));
    let refusal = writer.start(sql, vec![], cancel).await.unwrap_err();
    assert_eq!(refusal.code, Code::Cancelled);
    assert_eq!(world.value("SELECT COUNT(*) FROM t").await, "1");
}

const ENDLESS: &str =
    "SELECT COUNT(MD5(CONCAT(a.seq, b.seq))) FROM seq_1_to_1000000 a, seq_1_to_1000000 b";

#[tokio::test]
async fn a_read_stops_at_its_limit_and_when_it_is_cancelled_or_nobody_listens() {
    let Some(mut world) = World::new("stop").await else {
        return;
    };
    let mut reader = world.reader();
    let running = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'sk_stop' AND command <> 'Sleep' AND id <> CONNECTION_ID()";

    let cancel = CancellationToken::new();
    let later = cancel.clone();
    drop(tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        later.cancel();
    }));
    let started = Instant::now();
    let refusal = reader.start(ENDLESS, vec![], cancel).await.unwrap_err();
    assert_eq!(refusal.code, Code::Cancelled);
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    quiet(&mut world, running).await;

    reader.limits.time_ms = 300;
    assert_eq!(reader.refused(ENDLESS, vec![]).await.code, Code::TimeLimit);
    quiet(&mut world, running).await;

    reader.limits.time_ms = 60_000;
    let endless_rows = "SELECT a.seq FROM seq_1_to_1000000 a, seq_1_to_1000000 b";
    let mut stream = reader
        .start(endless_rows, vec![], CancellationToken::new())
        .await
        .unwrap();
    let Some(Event::Rows(first)) = stream.events.recv().await else {
        panic!("no rows")
    };
    assert_eq!(first.len(), 201);
    drop(stream);
    quiet(&mut world, running).await;
    assert_eq!(reader.rows("SELECT 1").await, [[json!(1)]]);
}

async fn quiet(world: &mut World, running: &str) {
    for _ in 0..100 {
        if world.value(running).await == "0" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the server still works on the statement");
}

#[tokio::test]
async fn reads_answer() {
    let Some(mut world) = World::new("reads").await else {
        return;
    };
    world.sql("CREATE TABLE users (id int, name varchar(9)); CREATE VIEW v AS SELECT id FROM users;
        CREATE FUNCTION wipe() RETURNS int MODIFIES SQL DATA BEGIN DELETE FROM users; RETURN 1; END").await;
    world
        .sql("CREATE VIEW evil AS SELECT wipe() AS w; INSERT INTO users VALUES (1, 'a')")
        .await;
    let reader = world.reader();
    let empty = reader
        .run("SELECT id, name FROM users WHERE id = 9", vec![])
        .await
        .unwrap();
    assert_eq!(
        (empty.columns.len(), empty.rows.len(), empty.affected),
        (2, 0, None)
    );
    assert_eq!(reader.rows("SELECT * FROM v;").await, [[json!(1)]]);
    assert_eq!(
        reader
            .rows("SELECT DISTINCT SQL_NO_CACHE id FROM users -- x")
            .await,
        [[json!(1)]]
    );
    assert_eq!(
        reader
            .rows("WITH x AS (SELECT 2 AS a) SELECT a FROM x UNION VALUES (3)")
            .await,
        [[json!(2)], [json!(3)]]
    );
    assert!(
        reader.rows("SHOW GRANTS").await[0][0]
            .as_str()
            .unwrap()
            .ends_with(" IDENTIFIED ...")
    );
}

#[tokio::test]
async fn errors_say_what_to_do_and_leave_everything_alone() {
    let Some(mut world) = World::new("errors").await else {
        return;
    };
    world.sql("CREATE TABLE users (id int, name varchar(9)); CREATE VIEW v AS SELECT id FROM users;
        CREATE FUNCTION wipe() RETURNS int MODIFIES SQL DATA BEGIN DELETE FROM users; RETURN 1; END").await;
    world
        .sql("CREATE VIEW evil AS SELECT wipe() AS w; INSERT INTO users VALUES (1, 'a')")
        .await;
    let reader = world.reader();
    for (sql, code, hint) in [
        (
            "SELECT * FROM usrs",
            Code::UnknownTable,
            "did you mean users?",
        ),
        (
            "SELECT nam FROM users",
            Code::UnknownColumn,
            "did you mean name?",
        ),
        ("SELECT id FORM users", Code::SyntaxError, "dialect"),
        (
            "WITH RECURSIVE t AS (SELECT 1 n UNION ALL SELECT n + 1 FROM t) SELECT COUNT(*) FROM t",
            Code::DatabaseError,
            "1000 rounds",
        ),
        (
            "SELECT MAX(a.seq + b.seq) FROM seq_1_to_1000 a, seq_1_to_1000 b LIMIT ROWS EXAMINED 10",
            Code::DatabaseError,
            "EXAMINED",
        ),
        ("SELECT * FROM evil", Code::Forbidden, ""),
        ("SELECT wipe()", Code::Forbidden, ""),
        ("SELECT nope()", Code::Forbidden, ""),
        ("SELECT * FROM users FOR UPDATE", Code::ApprovalRequired, ""),
    ] {
        let refusal = reader.refused(sql, vec![]).await;
        assert_eq!(refusal.code, code, "{sql}: {refusal:?}");
        assert!(refusal.hint.unwrap_or_default().contains(hint), "{sql}");
    }
    assert_eq!(world.value("SELECT COUNT(*) FROM users").await, "1");
}

#[tokio::test]
async fn a_connection_that_was_lost_while_idle_is_replaced() {
    for server in [MARIADB, MYSQL] {
        replaces_connections(server).await;
    }
}

async fn replaces_connections(server: &str) {
    let Some(mut world) = World::on(server, "lost").await else {
        return;
    };
    let reader = world.reader();
    assert_eq!(reader.rows("SELECT 1").await, [[json!(1)]]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let id = world.value("SELECT id FROM information_schema.processlist WHERE db = 'sk_lost' AND user = 'sk_lost'").await;
    world.sql(&format!("KILL {id}")).await;
    assert_eq!(reader.rows("SELECT 2").await, [[json!(2)]]);
}

#[tokio::test]
async fn a_login_that_can_do_too_much_is_refused_for_reads() {
    for server in [MARIADB, MYSQL] {
        refuses_strong_logins(server).await;
    }
}

async fn refuses_strong_logins(server: &str) {
    let Some(world) = World::on(server, "login").await else {
        return;
    };
    let strong = Runner::new(world.url.as_str(), &[Effect::Read], false);
    let refusal = strong.refused("SELECT 1", vec![]).await;
    assert_eq!(refusal.code, Code::PrivilegedLogin);
    assert_eq!(
        world.target(&[Effect::Read]).rows("SELECT 1").await,
        [[json!(1)]]
    );
    let mut wrong = world.login();
    wrong.set_password(Some("sesame")).unwrap();
    let refusal = Runner::new(wrong.as_str(), &[Effect::Read], false)
        .refused("SELECT 1", vec![])
        .await;
    assert_eq!(refusal.code, Code::DatabaseUnavailable);
    assert!(!format!("{refusal:?}").contains("sesame"));
    let mut nobody = world.login();
    nobody.set_port(Some(1)).unwrap();
    let refusal = Runner::new(nobody.as_str(), &[Effect::Read], false)
        .refused("SELECT 1", vec![])
        .await;
    assert_eq!(refusal.code, Code::DatabaseUnavailable);
    assert!(!format!("{refusal:?}").contains("pass"));
}

const CATALOGUE: &str = "CREATE TABLE users (id int AUTO_INCREMENT PRIMARY KEY, email varchar(99) NOT NULL DEFAULT 'x' COMMENT 'where to write', UNIQUE KEY mail (email(10))) COMMENT 'people';
        CREATE TABLE orders (a int, b int, user_id int, twice int AS (a * 2) STORED, changed timestamp NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(), PRIMARY KEY (b, a),
        FOREIGN KEY of_user (user_id) REFERENCES users (id) ON DELETE CASCADE); CREATE VIEW v AS SELECT id FROM users; CREATE SEQUENCE s";

#[tokio::test]
async fn tables_are_listed() {
    let Some(mut world) = World::new("catalogue").await else {
        return;
    };
    world.sql(CATALOGUE).await;
    let reader = world.reader();
    let all = reader.executor.list_tables(None, None).await.unwrap();
    let all: Vec<_> = all
        .iter()
        .map(|t| (t.name.as_str(), t.kind.as_str(), t.comment.as_deref()))
        .collect();
    assert_eq!(
        all,
        [
            ("orders", "table", None),
            ("s", "sequence", None),
            ("users", "table", Some("people")),
            ("v", "view", None)
        ]
    );
    assert_eq!(
        reader
            .executor
            .list_tables(None, Some("PEOPLE"))
            .await
            .unwrap()
            .len(),
        1
    );
    assert!(
        reader
            .executor
            .list_tables(Some("other"), None)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn tables_are_described() {
    let Some(mut world) = World::new("described").await else {
        return;
    };
    world.sql(CATALOGUE).await;
    let reader = world.reader();
    let users = reader.executor.describe_table("users").await.unwrap();
    assert_eq!(users.primary_key, ["id"]);
    let columns = serde_json::to_value(&users.columns).unwrap();
    assert_eq!(
        columns[0],
        json!({"name": "id", "type": "int(11)", "nullable": false, "default": "auto_increment"})
    );
    assert_eq!(
        columns[1],
        json!({"name": "email", "type": "varchar(99)", "nullable": false, "default": "'x'", "comment": "where to write"})
    );
    assert_eq!(
        serde_json::to_value(&users.indexes).unwrap(),
        json!([{"name": "mail", "columns": ["email(10)"], "unique": true}])
    );
    assert_eq!(
        serde_json::to_value(&users.referenced_by).unwrap(),
        json!([{"columns": ["id"], "table": "orders", "other_columns": ["user_id"], "on_delete": "cascade"}])
    );
    let orders = reader
        .executor
        .describe_table("sk_described.`orders`")
        .await
        .unwrap();
    assert_eq!(orders.primary_key, ["b", "a"]);
    assert_eq!(orders.foreign_keys[0].table, "users");
    assert_eq!(
        orders.columns[3].default.as_deref(),
        Some("generated always as (`a` * 2) stored")
    );
    assert_eq!(
        orders.columns[4].default.as_deref(),
        Some("current_timestamp() on update current_timestamp()")
    );
    let refusal = reader.executor.describe_table("usrs").await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.hint.as_deref()),
        (Code::UnknownTable, Some("did you mean users?"))
    );
}

#[tokio::test]
async fn the_doctor_finds_what_is_there() {
    let Some(world) = World::new("doctor").await else {
        return;
    };
    let verdicts =
        |checks: &[secondkey::exec::Check]| checks.iter().map(|c| c.verdict).collect::<Vec<_>>();
    let checks = world.reader().executor.check().await;
    assert!(
        checks.len() >= 3 && !verdicts(&checks).contains(&Verdict::Bad),
        "{checks:?}"
    );
    assert!(
        checks.last().unwrap().found.contains("refuses a change"),
        "{checks:?}"
    );
    let strong = Runner::new(world.url.as_str(), &[Effect::Read], false)
        .executor
        .check()
        .await;
    assert!(verdicts(&strong).contains(&Verdict::Bad), "{strong:?}");
    world.reader().executor.reach().await.unwrap();
}
