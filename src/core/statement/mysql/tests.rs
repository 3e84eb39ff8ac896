use serde_json::Value;

use super::*;
use crate::core::refusal::Code;
use crate::core::statement::Name;

/// Parses on a stack as big as that of the parse pool.
fn parse(sql: &str) -> Result<Statement, Refusal> {
    let text = sql.to_owned();
    std::thread::Builder::new()
        .stack_size(64 * 1024 * 1024)
        .spawn(move || crate::core::statement::parse(Engine::MySql, &text))
        .unwrap()
        .join()
        .unwrap()
}

fn good(sql: &str) -> Statement {
    parse(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"))
}

#[test]
fn the_corpus_comes_out_as_it_demands() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/statements.jsonl");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for line in std::fs::read_to_string(path).unwrap().lines() {
        // One case holds a lone surrogate, which is not text.
        let Ok(case) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let Some(sql) = case["sql"].as_str().filter(|_| case["dialect"] == "mysql") else {
            continue;
        };
        let (id, mode) = (case["id"].as_str().unwrap(), case["mode"].as_str().unwrap());
        let limit = match mode {
            "read_only" | "capability_param" => Effect::Read,
            "write_allowed_no_ddl" => Effect::Write,
            _ => Effect::Admin,
        };
        let outcome = parse(sql).map(|s| resolve(&s, &Catalogue::default()));
        let runs = outcome.as_ref().is_ok_and(|s| {
            s.effect <= limit && s.placeholders == case["params"].as_array().unwrap().len()
        });
        seen += 1;
        // These are for the catalogue, the types or the clock to stop.
        let later = ["function-15", "value-03", "value-06", "dos-"]
            .iter()
            .any(|i| id.contains(i));
        if runs != (case["must"] == "allow") && !(later && runs) {
            wrong.push(format!("{id} {sql}: {outcome:?}"));
        }
    }
    assert!(seen > 150, "{seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const READS: &[&str] = &[
    "SELECT 1",
    "select * from users where `update` = 1",
    "SELECT t.update, t.into FROM t",
    "SELECT REPLACE(a, 'x', 'y'), INSERT('abc', 1, 1, 'z'), LEFT(a, 2), RIGHT(a, 2) FROM t",
    "SELECT IF(a, 1, 2), IFNULL(a, b), TRUNCATE(a, 2), MOD(a, 2), a MOD 2, REPEAT('a', 2) FROM t",
    "SELECT COUNT(DISTINCT a, b), SUM(a) OVER (PARTITION BY b ORDER BY c) FROM t",
    "SELECT a ->> '$.x', JSON_EXTRACT(a, '$.y') FROM t WHERE JSON_CONTAINS(a, '1')",
    "SELECT a FROM t WHERE a = ANY (SELECT b FROM u) OR a > ALL (SELECT 1)",
    "SELECT EXTRACT(YEAR_MONTH FROM a), TRIM(BOTH 'x' FROM b), SUBSTRING(c FROM 2 FOR 3) FROM t",
    "SELECT DATE_SUB(NOW(), INTERVAL '1:1' DAY_HOUR) + INTERVAL 1 YEAR",
    "SELECT CAST(a AS CHAR(10) CHARACTER SET utf8mb4), CONVERT(b USING latin1), CONVERT(c, DECIMAL(10,2)) FROM t",
    "SELECT _utf8mb4'x' COLLATE utf8mb4_bin, N'x', X'4142', b'01', 0x41, 1.5e-3, .5",
    "SELECT MATCH (a) AGAINST ('x' IN BOOLEAN MODE) FROM t",
    "SELECT MATCH (a, b) AGAINST (? IN NATURAL LANGUAGE MODE) FROM t",
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n",
    "SELECT * FROM a FORCE INDEX (i) NATURAL JOIN b LEFT JOIN (c, d) ON a.x = c.x",
    "SELECT * FROM t PARTITION (p0, p1)",
    "SELECT * FROM t FOR SYSTEM_TIME AS OF NOW()",
    "SELECT a FROM t INTERSECT SELECT b FROM u EXCEPT SELECT c FROM v",
    "SELECT NOT a, !a, ~a, -a, a && b, a || b, a ^ b, a << 2 FROM t",
    "SELECT a SOUNDS LIKE b, a NOT RLIKE 'x', a REGEXP 'y', a LIKE 'x' ESCAPE '!' FROM t",
    "SELECT ROW(1, 2) = (SELECT 1, 2), (1, 2) IN ((1, 2))",
    "SELECT CASE WHEN a THEN b ELSE c END, COALESCE(a, b) FROM t GROUP BY 1, 2 HAVING COUNT(*) > 1",
    "SELECT @@version, @@session.sql_mode, @x",
    "SELECT CURRENT_USER, CURRENT_TIMESTAMP(6), LAST_INSERT_ID(), FOUND_ROWS(), DATABASE()",
    "SELECT GROUP_CONCAT(a ORDER BY b DESC SEPARATOR ', ' LIMIT 3) FROM t",
    "SELECT ST_AsText(p), ST_Distance(p, POINT(1, 2)) FROM t",
    "SELECT /*+ NO_INDEX_MERGE(t) */ * FROM t",
    "SELECT /*! SQL_NO_CACHE */ a FROM t",
    "SELECT CHAR(65, 66 USING utf8mb4)",
    "SELECT TIMESTAMPDIFF(MONTH, a, b), DATE_ADD(a, INTERVAL ? DAY) FROM t LIMIT ? OFFSET ?",
    "SELECT LAG(a, 1) OVER w, ROW_NUMBER() OVER (ORDER BY a ROWS UNBOUNDED PRECEDING) FROM t WINDOW w AS (ORDER BY b)",
    "VALUES (1, 2), (3, 4)",
    "VALUES ROW(1, 2), ROW(3, 4)",
    "TABLE users ORDER BY id LIMIT 3",
    "SELECT PREVIOUS VALUE FOR s",
    "SELECT a AS 'quoted alias', b \"another\" FROM t",
    "SELECT 'a' 'b' \"c\"",
    "SELECT id FROM `my-db`.`odd ``name` WHERE x = 'it''s'",
    "SELECT 1 FROM dual;",
    "SELECT rank, value, data, comment, begin_date, end_date, `key`, role, type FROM t",
    "SELECT * FROM t WHERE a IN (?, ?, ?) AND b BETWEEN ? AND ? AND c IS NOT NULL",
    "SELECT x FROM (SELECT 1 AS x) AS d (x)",
    "SHOW TABLES",
    "SHOW FULL TABLES FROM atk LIKE 'u%'",
    "SHOW COLUMNS FROM users WHERE Field LIKE 'n%'",
    "SHOW CREATE TABLE users",
    "SHOW TABLE STATUS",
    "SHOW COUNT(*) WARNINGS",
    "SHOW ENGINE INNODB STATUS",
    "DESCRIBE users name",
    "DESC users",
    "EXPLAIN PARTITIONS SELECT * FROM t",
    "EXPLAIN DELETE FROM orders",
    "EXPLAIN SELECT * FROM t FOR UPDATE",
    "ANALYZE FORMAT=JSON SELECT * FROM t",
    "ANALYZE SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
];

#[test]
fn reads_are_reads() {
    for sql in READS {
        let statement = resolve(&good(sql), &Catalogue::default());
        assert_eq!(
            statement.effect,
            Effect::Read,
            "{sql}: {}",
            statement.because()
        );
        assert_ne!(statement.shape, Shape::Change, "{sql}");
    }
}

const MORE_THAN_READS: &[(&str, Effect)] = &[
    ("SELECT sleep(1)", Effect::Admin),
    ("SELECT `sleep` (1)", Effect::Admin),
    ("SELECT SLEEP /* */ (1)", Effect::Admin),
    (
        "SELECT * FROM t WHERE a = (SELECT LOAD_FILE('x'))",
        Effect::Admin,
    ),
    ("SELECT * FROM t ORDER BY benchmark(1, 2)", Effect::Admin),
    ("SELECT * FROM t LIMIT 1 PROCEDURE ANALYSE()", Effect::Admin),
    ("SELECT wipe()", Effect::Admin),
    ("SELECT a.wipe(1) FROM t", Effect::Admin),
    ("SELECT atk . abs(1)", Effect::Admin),
    ("SELECT s\u{17f}leep(1)", Effect::Admin),
    ("SELECT @x := 1", Effect::Admin),
    ("SELECT a INTO @x FROM t", Effect::Admin),
    (
        "SELECT a FROM t UNION SELECT b INTO OUTFILE 'x' FROM u",
        Effect::Admin,
    ),
    ("SELECT * FROM mysql.user", Effect::Admin),
    ("SELECT * FROM `MySQL` . `user`", Effect::Admin),
    (
        "SELECT * FROM performance_schema.events_statements_history",
        Effect::Admin,
    ),
    ("SELECT * FROM t FOR UPDATE", Effect::Write),
    ("SELECT * FROM t FOR SHARE", Effect::Write),
    ("SELECT NEXTVAL(s)", Effect::Write),
    ("SELECT setval(s, 3)", Effect::Write),
    ("SELECT LAST_INSERT_ID(a) FROM t", Effect::Admin),
    ("SELECT {fn sleep(1)}", Effect::Admin),
    (
        "SELECT /*+ SET_VAR(sql_mode='ANSI_QUOTES') */ 1",
        Effect::Admin,
    ),
    ("/*! DELETE FROM orders */", Effect::Write),
    ("SELECT 1 /*! INTO OUTFILE 'x' */", Effect::Admin),
    (
        "WITH x AS (SELECT 1) DELETE FROM orders WHERE id IN (SELECT * FROM x)",
        Effect::Write,
    ),
    ("ANALYZE UPDATE t SET a = 1", Effect::Write),
    ("ANALYZE LOCAL TABLE t", Effect::Admin),
    ("EXPLAIN ANALYZE DELETE FROM t", Effect::Write),
    ("EXPLAIN SELECT sleep(1)", Effect::Admin),
    ("EXPLAIN FOR CONNECTION 3", Effect::Admin),
    ("SHOW VARIABLES WHERE sleep(1)", Effect::Admin),
    ("SHOW TABLES WHERE (SELECT wipe())", Effect::Admin),
    ("SHOW BINLOG EVENTS", Effect::Admin),
    ("SHOW CREATE USER bench", Effect::Admin),
    ("SHOW COLUMNS FROM user FROM mysql", Effect::Admin),
    ("INSERT INTO t VALUES (sleep(1))", Effect::Admin),
    ("UPDATE t SET a = wipe()", Effect::Admin),
    ("INSERT INTO t (a) VALUES (1)", Effect::Write),
    (
        "INSERT INTO t (a) SELECT REPLACE(b, 'x', 'y') FROM u",
        Effect::Write,
    ),
    ("CREATE OR REPLACE VIEW v AS SELECT 1", Effect::Schema),
    (
        "CREATE TABLE t (a varchar(9) DEFAULT 'x', PRIMARY KEY (a)) ENGINE=InnoDB",
        Effect::Schema,
    ),
    (
        "CREATE TABLE t (a int) ENGINE=FEDERATED CONNECTION='mysql://x'",
        Effect::Admin,
    ),
    (
        "CREATE TABLE t (a int) DATA DIRECTORY='/tmp'",
        Effect::Admin,
    ),
    ("CREATE TABLE t AS SELECT load_file('x')", Effect::Admin),
    ("CREATE TABLE t AS SELECT wipe()", Effect::Admin),
    (
        "CREATE DEFINER=root@localhost PROCEDURE p() SELECT 1",
        Effect::Admin,
    ),
    ("CREATE USER x IDENTIFIED BY 'y'", Effect::Admin),
    ("DROP TABLE a, b", Effect::Schema),
    ("TRUNCATE TABLE t", Effect::Schema),
    ("TRUNCATE user", Effect::Schema),
    ("SELECT sql_cache(1)", Effect::Admin),
    ("FOO BAR", Effect::Admin),
    ("IF 1 THEN SELECT 1", Effect::Admin),
];

#[test]
fn what_is_more_than_a_read_is_seen() {
    for (sql, expected) in MORE_THAN_READS.iter().copied() {
        let statement = resolve(&good(sql), &Catalogue::default());
        assert_eq!(statement.effect, expected, "{sql}: {}", statement.because());
        assert_eq!(statement.shape, Shape::Change, "{sql}");
    }
}

#[test]
fn text_that_the_server_could_read_differently_is_refused() {
    for (sql, code) in [
        ("SELECT 1 /*!50000 , 2 */", Code::Forbidden),
        ("SELECT 1 /*M! , 2 */", Code::Forbidden),
        ("SELECT 1 /*! , 2", Code::SyntaxError),
        ("SELECT 1 /*! /* */ */", Code::SyntaxError),
        ("SELECT 'a", Code::SyntaxError),
        ("SELECT `a", Code::SyntaxError),
        ("SELECT /* a", Code::SyntaxError),
        ("SELECT 1\\G", Code::SyntaxError),
        ("SELECT 'a\\'", Code::SyntaxError),
        ("DELIMITER //", Code::SyntaxError),
        ("SELECT 1\0", Code::SyntaxError),
        ("SELECT 1;SELECT 2", Code::MultipleStatements),
        ("SELECT 1--1;DELETE FROM t", Code::MultipleStatements),
        ("BEGIN; SELECT 1", Code::MultipleStatements),
        ("SELECT 1 #\n; SELECT 2", Code::MultipleStatements),
        ("SELECT 1 -- \r; x\n; SELECT 2", Code::MultipleStatements),
        ("", Code::EmptyStatement),
        (" ; /* x */ ;", Code::EmptyStatement),
        ("/*! */", Code::EmptyStatement),
    ] {
        assert_eq!(parse(sql).unwrap_err().code, code, "{sql}");
    }
}

#[test]
fn relations_are_those_of_the_database() {
    let names = |set: &BTreeSet<Name>| {
        set.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (sql, reads, writes) in [
        (
            "WITH x AS (SELECT * FROM a) SELECT * FROM x JOIN b.c",
            "a b.c",
            "",
        ),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", "a", ""),
        (
            "SELECT * FROM a, (WITH a AS (SELECT 1) SELECT * FROM a) x",
            "a",
            "",
        ),
        (
            "SELECT * FROM a JOIN (b, c) ON EXISTS (SELECT 1 FROM d)",
            "a b c d",
            "",
        ),
        // The parser does not know this one.
        (
            "SELECT EXTRACT(DAY FROM x) FROM a FOR SYSTEM_TIME ALL, b WHERE y IN (SELECT 1 FROM c.d, e)",
            "a b e c.d",
            "",
        ),
        ("INSERT INTO a (x, y) SELECT 1, 2 FROM b", "b", "a"),
        ("INSERT INTO a.b SET x = 1", "", "a.b"),
        ("UPDATE a x JOIN b y ON x.i = y.i SET x.j = 1", "a b", "a"),
        ("UPDATE a, b SET a.j = 1, b.k = 2", "a b", "a b"),
        ("UPDATE a SET b = (SELECT 1 FROM c)", "c", "a"),
        ("DELETE x FROM a x JOIN b y ON x.i = y.i", "a b", "a"),
        ("DELETE FROM a, b USING a JOIN b JOIN c", "a b c", "a b"),
        ("DELETE FROM a WHERE i IN (SELECT i FROM b)", "b", "a"),
        ("REPLACE a VALUES (1)", "", "a"),
        ("CREATE VIEW v AS SELECT * FROM a JOIN b", "a b", "v"),
        ("CREATE UNIQUE INDEX i ON a (x)", "", "a"),
        ("DROP TABLE IF EXISTS a, b", "", "a b"),
        ("RENAME TABLE a TO b", "", "a b"),
        ("SHOW COLUMNS FROM a FROM b", "b.a", ""),
        ("SHOW CREATE VIEW a.v", "a.v", ""),
        ("DESCRIBE a.b c", "a.b", ""),
        ("EXPLAIN DELETE FROM a", "a", ""),
    ] {
        let statement = good(sql);
        assert_eq!(
            (
                names(&statement.reads).as_str(),
                names(&statement.writes).as_str()
            ),
            (reads, writes),
            "{sql}"
        );
    }
}

#[test]
fn redaction_leaves_no_literal_and_no_comment() {
    for (sql, redacted) in [
        (
            "SELECT 'secret', \"secret\" /* secret */ -- secret",
            "SELECT ?, ?",
        ),
        (
            "SELECT 0x736563726574, x'73', b'01', 1.5e3, n'secret', _utf8'secret' FROM t1",
            "SELECT ?, ?, ?, ?, ?, _utf8? FROM t1",
        ),
        (
            "CREATE USER x@'secret' IDENTIFIED BY 'secret'",
            "CREATE USER x@? IDENTIFIED BY ?",
        ),
        (
            "SET PASSWORD FOR 'a'@'b' = PASSWORD('secret')",
            "SET PASSWORD FOR ?@? = PASSWORD(?)",
        ),
        (
            "SELECT `a``b`, a.b,@x,@@y WHERE z=-1",
            "SELECT `a``b`, a.b,@x,@@y WHERE z=-?",
        ),
        ("SELECT /*! SQL_NO_CACHE */ 1", "SELECT SQL_NO_CACHE ?"),
    ] {
        assert_eq!(good(sql).redacted, redacted, "{sql}");
    }
}

#[test]
fn only_real_placeholders_count() {
    assert_eq!(
        good("SELECT '?', ?, \"?\", `?`, ? /* ? */ -- ?").placeholders,
        2
    );
}

#[test]
fn views_and_functions_are_what_the_catalogue_says() {
    let view = |sql: &str| View {
        statement: Some(good(sql)),
    };
    let key = |name: &str| ("atk".to_owned(), name.to_owned());
    let catalogue = Catalogue {
        database: Some("atk".into()),
        functions: BTreeSet::from([key("wipe"), key("regexp_like"), key("fine")]),
        views: [
            (
                key("plain"),
                view("select `atk`.`users`.`id` AS `id` from `atk`.`users`"),
            ),
            (key("evil"), view("select `atk`.`wipe`() AS `w`")),
            (key("nested"), view("select `w` from `atk`.`evil`")),
            (key("hidden"), View::default()),
            (key("loop"), view("select 1 from `atk`.`loop`")),
        ]
        .into(),
        trusted: BTreeSet::from(["atk.fine".to_owned()]),
    };
    for (sql, expected) in [
        ("SELECT * FROM plain", Effect::Read),
        ("SELECT * FROM PLAIN JOIN `loop`", Effect::Read),
        ("SELECT * FROM evil", Effect::Admin),
        ("SELECT * FROM atk.nested", Effect::Admin),
        ("SELECT * FROM other.evil", Effect::Read),
        ("SELECT * FROM hidden", Effect::Admin),
        ("SHOW CREATE VIEW hidden", Effect::Read),
        ("DESCRIBE evil", Effect::Read),
        ("EXPLAIN SELECT * FROM evil", Effect::Admin),
        ("INSERT INTO orders SELECT * FROM evil", Effect::Admin),
        ("SELECT fine(1)", Effect::Read),
        ("SELECT atk.fine(1)", Effect::Read),
        ("SELECT REGEXP_LIKE('a', 'b')", Effect::Admin),
        ("SHOW TABLES WHERE wipe()", Effect::Admin),
    ] {
        let statement = resolve(&good(sql), &catalogue);
        assert_eq!(statement.effect, expected, "{sql}: {}", statement.because());
    }
    let system = Catalogue {
        database: Some("mysql".into()),
        ..Catalogue::default()
    };
    assert_eq!(
        resolve(&good("SELECT * FROM user"), &system).effect,
        Effect::Admin
    );
}

#[test]
fn a_number_for_a_text_column_is_seen() {
    let columns = [
        ("name".to_owned(), ColumnKind::Text),
        ("id".to_owned(), ColumnKind::Other),
    ];
    let misfit = |sql: &str, values: &[Value]| {
        unfitting(&comparisons(sql), values, &columns).map(|(at, _)| at)
    };
    let zero = || Value::from(0);
    assert_eq!(misfit("SELECT 1 FROM t WHERE name = ?", &[zero()]), Some(0));
    assert_eq!(
        misfit(
            "SELECT 1 FROM t WHERE id = ? AND t.name IN ('a', ?)",
            &[zero(), zero()]
        ),
        Some(1)
    );
    assert_eq!(
        misfit("SELECT 1 FROM t WHERE ? = t.name", &[zero()]),
        Some(0)
    );
    assert_eq!(
        misfit(
            "SELECT 1 FROM t WHERE name NOT BETWEEN ? AND ?",
            &[Value::from("a"), zero()]
        ),
        Some(1)
    );
    assert_eq!(
        misfit("SELECT 1 FROM t WHERE name = ?", &[Value::from("0")]),
        None
    );
    assert_eq!(
        misfit("UPDATE t SET name = ? WHERE id = ?", &[zero(), zero()]),
        None
    );
    assert_eq!(misfit("SELECT name, ? FROM t", &[zero()]), None);
}

#[test]
fn nothing_of_64_kib_brings_the_process_down() {
    let long = |head: &str, middle: &str, tail: &str| {
        let times = (64 * 1024 - head.len()) / (middle.len() + tail.len()).max(1);
        format!("{head}{}{}", middle.repeat(times), tail.repeat(times))
    };
    for sql in [
        long("SELECT ", "(", ")"),
        long("SELECT 1", "", " "),
        long("SELECT ", "(1+", "1)"),
        long("SELECT ", "NOT ", ""),
        long("SELECT ", "-", ""),
        long("SELECT 1", "+1", ""),
        long("SELECT * FROM t", " JOIN t", ""),
        long("SELECT * FROM t", ",t", ""),
        long("SELECT * FROM ", "(t JOIN ", ")"),
        long("SELECT 1", " UNION SELECT 1", ""),
        long("", "(SELECT 1 UNION ", ")"),
        long("SELECT ", "ABS(", ")"),
        long("SELECT ", "CASE WHEN ", " END"),
        long("SELECT * FROM ", "(SELECT * FROM ", ")"),
        long("WITH a AS (", "WITH a AS (", ")"),
        long("EXPLAIN ", "EXPLAIN ", ""),
        long("SELECT a", " IN (a", ")"),
        long("SELECT a", "->'$.x'", ""),
        long("", "(", ""),
        long("", ";", ""),
        long("SELECT ", "/**/", ""),
        long("SELECT '", "\\'", ""),
    ] {
        drop(parse(&sql));
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(sql in "[ -~\n\t¿é'\"`*/?@#;()-]{0,120}") {
        drop(parse(&sql));
    }

    #[test]
    fn a_hidden_write_is_never_a_read(
        before in proptest::sample::select(vec!["", "/* x */", "-- x\n", "#'\n", "/*! ", "(", "WITH a AS (SELECT 1) ", "EXPLAIN ANALYZE ", "ANALYZE "]),
        verb in proptest::sample::select(vec!["DELETE FROM orders", "UPDATE orders SET a=1", "DROP TABLE orders", "SELECT sleep(1)", "SELECT nextval(s)", "CALL p()", "SET @x = 1"]),
        after in proptest::sample::select(vec!["", " */", ")", "-- x", "#", " /* ; */", " LIMIT 1"]),
    ) {
        if let Ok(statement) = parse(&format!("{before}{verb}{after}")) {
            let effect = resolve(&statement, &Catalogue::default()).effect;
            proptest::prop_assert!(effect > Effect::Read);
        }
    }
}
