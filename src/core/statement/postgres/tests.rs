use serde_json::Value;

use super::*;
use crate::core::statement::Name;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");

/// Parses on a thread with the stack that the parse pool gives.
fn on_big_stack<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new()
        .stack_size(64 * 1024 * 1024)
        .spawn(job)
        .unwrap()
        .join()
        .unwrap()
}

fn parsed(sql: &str) -> Statement {
    parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

fn effect(sql: &str) -> Effect {
    parsed(sql).effect
}

fn lines(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(format!("{CORPUS}/{file}")).unwrap();
    // A lone surrogate is no text in Rust: such a case ends at the door of the server.
    text.lines()
        .filter(|line| !line.contains("\\ud800"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn effects_are_as_bad_as_the_statement() {
    use Effect::{Admin, Read, Schema, Write};
    for (sql, want) in [
        ("select 1", Read),
        ("table t", Read),
        ("values (1), (2)", Read),
        ("with a as (select 1) select * from a", Read),
        ("show all", Read),
        ("explain delete from t", Read),
        ("explain create table x as select 1", Read),
        ("explain (analyze off) delete from t", Read),
        (
            "explain (verbose, costs off, format json) delete from t",
            Read,
        ),
        ("explain (analyze, buffers) select 1", Read),
        ("select * from t tablesample bernoulli (10)", Read),
        ("select currval('s'), random(), clock_timestamp()", Read),
        (
            "select ts_rewrite('a'::tsquery, 'a'::tsquery, 'b'::tsquery)",
            Read,
        ),
        ("select repeat('a', 10), lpad('a', 1000)", Read),
        ("explain (analyze, analyze off) delete from t", Write),
        ("explain (analyze off, analyze) delete from t", Write),
        ("explain (nosuch) delete from t", Write),
        ("explain (\"ANALYZE\") delete from t", Write),
        ("explain analyse delete from t", Write),
        ("explain analyze create table x as select 1", Schema),
        ("select * from t for update", Write),
        ("select 1 from (select * from t for share) q", Write),
        ("select nextval('s')", Write),
        (
            "with d as (delete from t returning *) select * from d",
            Write,
        ),
        (
            "merge into t using s on true when matched then delete",
            Write,
        ),
        ("select 1 into x", Schema),
        ("create view v as select wipe()", Schema),
        (
            "create rule r as on insert to t do also delete from u",
            Schema,
        ),
        (
            "create function f() returns int language sql begin atomic delete from t; end",
            Schema,
        ),
        ("truncate t", Schema),
        ("drop table t", Schema),
        ("alter table t add column a int", Schema),
        ("refresh materialized view v", Schema),
        ("alter table t owner to x", Admin),
        ("alter table t disable row level security", Admin),
        ("create function f() returns int language c as 'x'", Admin),
        ("drop role r", Admin),
        ("drop extension e", Admin),
        ("create extension e", Admin),
        ("create view v as select * from pg_authid", Admin),
        ("explain execute p", Admin),
        ("explain select pg_read_file('x')", Admin),
        ("select ts_rewrite('a'::tsquery, 'select 1')", Admin),
        ("select repeat(repeat('aa', 100000), 100000)", Admin),
        ("select rpad('a', 1000000000::int)", Admin),
        ("select U&\"pg\\005fread_file\"('x')", Admin),
        ("select * from pg_catalog.pg_shadow", Admin),
        ("insert into pg_catalog.pg_class values (1)", Admin),
        ("update pg_settings set setting = 0", Admin),
        ("vacuum", Admin),
        ("begin", Admin),
        ("alter system set a = 1", Admin),
        ("copy t to stdout", Admin),
        ("notify a", Admin),
        ("prepare p as select 1", Admin),
        ("create user u password 'x'", Admin),
    ] {
        assert_eq!(effect(sql), want, "{sql}: {:?}", parsed(sql).reasons);
    }
}

#[test]
fn shapes_say_how_it_runs() {
    for (sql, want) in [
        ("select 1", Shape::Query),
        ("explain select 1", Shape::Inspect),
        ("show all", Shape::Inspect),
        ("select 1 for update", Shape::Change),
        ("delete from t", Shape::Change),
    ] {
        assert_eq!(parsed(sql).shape, want, "{sql}");
    }
}

#[test]
fn relations_leave_out_ctes_only_where_they_are_visible() {
    let names = |set: &BTreeSet<Name>| set.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (sql, reads, writes) in [
        (
            "with a as (select * from t) select * from a",
            vec!["t"],
            vec![],
        ),
        (
            "with a as (select * from b), b as (select 1) select * from a, b",
            vec!["b"],
            vec![],
        ),
        (
            "with recursive a as (select * from b), b as (select 1) select * from a, b",
            vec![],
            vec![],
        ),
        (
            "with a as (with i as (select 1) select * from i) select * from i, a",
            vec!["i"],
            vec![],
        ),
        (
            "with a as (select 1) select * from s.a",
            vec!["s.a"],
            vec![],
        ),
        (
            "with a as (select 1) delete from a using a b",
            vec![],
            vec!["a"],
        ),
        (
            "select (with q as (select 1) select * from q) from q",
            vec!["q"],
            vec![],
        ),
        ("insert into t select * from u", vec!["u"], vec!["t"]),
        (
            "explain insert into t select * from u",
            vec!["t", "u"],
            vec![],
        ),
        ("drop table a, s.b", vec![], vec!["a", "s.b"]),
        ("select * into n from u", vec!["u"], vec!["n"]),
    ] {
        let found = parsed(sql);
        assert_eq!(names(&found.reads), reads, "{sql}");
        assert_eq!(names(&found.writes), writes, "{sql}");
    }
}

#[test]
fn placeholders_are_counted_from_the_tree() {
    assert_eq!(
        parsed("select $2::text, '$7', $$ $8 $$ /* $9 */").placeholders,
        2
    );
}

#[test]
fn every_call_is_seen_wherever_it_stands() {
    on_big_stack(|| {
        let cases = lines("function_positions.jsonl");
        assert!(cases.len() > 50);
        for case in cases {
            let sql = case["sql"].as_str().unwrap();
            let found = parsed(sql);
            let seen = found.names.functions.contains(&Name::bare("evil"))
                || found.names.types.contains(&Name::bare("evil"))
                || found.effect == Effect::Admin && sql.starts_with("SELECT 1 OPERATOR");
            assert!(seen, "{}: {sql}: {:?}", case["place"], found.names);
        }
    });
}

#[test]
fn what_must_be_blocked_is_no_plain_read_and_what_must_run_is() {
    on_big_stack(|| {
        for case in lines("statements.jsonl") {
            let (Some(sql), "postgres", "read_only") = (
                case["sql"].as_str(),
                case["dialect"].as_str().unwrap(),
                case["mode"].as_str().unwrap(),
            ) else {
                continue;
            };
            // Stopped by the time limit and by counting values, not by their text.
            if sql.contains("30000") || case["category"] == "malformed" {
                continue;
            }
            let found = parse(sql);
            let plain = |s: &Statement| s.effect == Effect::Read;
            match case["must"].as_str().unwrap() {
                "allow" => assert!(found.as_ref().is_ok_and(plain), "{}: {found:?}", case["id"]),
                _ => assert!(
                    found.as_ref().map_or(true, |s| !plain(s)
                        || !s.names.functions.is_empty()
                        || s.names.operators.contains(&Name::bare("==="))
                        || !s.reads.is_empty()
                        || !s.names.types.is_empty()),
                    "{}: {found:?}",
                    case["id"]
                ),
            }
        }
    });
}

/// Ways to nest: a start, what is repeated, the middle, and what closes each repetition.
const NESTS: &[[&str; 4]] = &[
    ["select ", "(", "wipe()", ")"],
    ["select ", "not ", "wipe()", ""],
    ["select ", "- ", "wipe()", ""],
    ["select wipe()", "||a", "", ""],
    ["select a", "||wipe()", "", ""],
    ["select wipe() from t", " join t on a", "", ""],
    ["select wipe() from t", " cross join t", "", ""],
    ["select wipe() from t", " natural join t", "", ""],
    ["", "(select ", "wipe()", ")"],
    ["select ", "(select ", "wipe()", ")"],
    ["select ", "exists(select ", "wipe()", ")"],
    ["select * from ", "(select * from ", "wipe()", ") a"],
    ["select ", "case when ", "wipe()", " then 1 end"],
    ["select ", "case when a then b else ", "wipe()", " end"],
    ["select ", "array[", "wipe()", "]"],
    ["select ", "a[", "wipe()", "]"],
    ["select (wipe())", "[1]", "", ""],
    ["select (wipe())", ".a", "", ""],
    ["select wipe()", "::int", "", ""],
    ["select wipe()", " collate a", "", ""],
    ["select wipe()", " at time zone a", "", ""],
    ["select wipe()", " union select 1", "", ""],
    ["select wipe()", " union all (select 1", "", ")"],
    ["select wipe()", " except select 1", "", ""],
    ["select ", "f(", "wipe()", ")"],
    ["select ", "coalesce(", "wipe()", ")"],
    ["select ", "row(", "wipe()", ")"],
    ["select wipe()", " is null", "", ""],
    ["select wipe()", " isnull", "", ""],
    ["select wipe()", " is true", "", ""],
    ["select wipe()", " and a", "", ""],
    ["select ", "a or (b and ", "wipe()", ")"],
    ["select ", "a between b and (c) and not ", "wipe()", ""],
    [
        "with ",
        "a as (with ",
        "a as (select 1) select wipe()",
        ") select 1",
    ],
    ["select wipe(), a.b", ".c", "", ""],
    ["select a in (wipe(), ", "a in (", "1)", ")"],
    [
        "select wipe() where a = ",
        "any(select a where a = ",
        "1",
        ")",
    ],
    ["select ", "xmlelement(name a, ", "wipe()", ")"],
    ["select ", "json_array(", "wipe()", ")"],
    ["explain ", "explain ", "select 1", ""],
    ["select ", "'a' like ", "b", ""],
    ["select ", "/*", "", ""],
    ["select ", "[", "", ""],
];

fn nested([start, unit, middle, close]: [&str; 4], count: usize) -> String {
    format!(
        "{start}{}{middle}{}",
        unit.repeat(count),
        close.repeat(count)
    )
}

#[test]
fn no_nesting_crashes_at_any_depth() {
    on_big_stack(|| {
        for nest in NESTS {
            let longest = crate::core::limits::STATEMENT_BYTES / (nest[1].len() + nest[3].len());
            let steps = (1..40).map(|n| n * 40);
            for count in steps.chain([2_000, 3_000, 4_900, longest - 10]) {
                let sql = nested(*nest, count.min(longest - 10));
                let started = std::time::Instant::now();
                // Either answer will do; the process must be there to give it, and soon.
                if let Ok(found) = parse(&sql) {
                    assert!(
                        found.names.functions.contains(&Name::bare("wipe")),
                        "{nest:?}"
                    );
                }
                assert!(started.elapsed().as_secs() < 10, "{nest:?}");
            }
        }
    });
}

#[test]
fn what_people_and_programs_write_is_not_too_deep() {
    on_big_stack(|| {
        let mut wrong = Vec::new();
        for nest in NESTS
            .iter()
            .filter(|nest| nest[2] != "b" && nest[2] != "select 1")
        {
            if matches!(nest[1], "/*" | "[") {
                continue;
            }
            let made = parse(&nested(*nest, 60));
            if let Err(refusal) = made {
                assert!(!refusal.message.contains("deep"), "{nest:?}");
                wrong.push(format!("{nest:?}: {refusal}"));
            }
        }
        assert!(wrong.is_empty(), "no SQL at all: {wrong:#?}");
        for sql in [
            format!("select a in ({}1)", "1, ".repeat(20_000)),
            format!("select 1 where a = 1{}", " or a = 1".repeat(5_000)),
            format!(
                "insert into t values (1, 'x'){}",
                ", (2, f(1) + 3)".repeat(5_000)
            ),
            format!("select case{} end", " when a = 1 then 'x'".repeat(2_000)),
            format!("select {}1", "a.b + 1 as c, ".repeat(1_001)),
            format!("select 'a'{}", " || b".repeat(300)),
            format!("select 1{}", " union all select a from b".repeat(200)),
        ] {
            assert!(
                parse(&sql).is_ok(),
                "{}",
                sql.chars().take(60).collect::<String>()
            );
        }
    });
}

#[test]
fn errors_do_not_repeat_literals() {
    for (sql, want) in [
        (
            "selec 1",
            "syntax error at or near `selec` (line 1, column 1)",
        ),
        ("select 1\nfrom t wher x = 'secret'", "syntax error"),
        ("select 'secret", "unterminated quoted string"),
        ("select 1 'secret'", "syntax error"),
        (
            "select 1 + ",
            "syntax error at end of input (line 1, column 11)",
        ),
        ("select * from t limit 5 77", "syntax error"),
    ] {
        let refusal = parse(sql).unwrap_err();
        assert_eq!(refusal.code, Code::SyntaxError);
        assert!(
            refusal.message.starts_with(want),
            "{sql}: {}",
            refusal.message
        );
        assert!(!refusal.message.contains("secret") && !refusal.message.contains("77"));
    }
}

#[test]
fn one_statement_and_no_more() {
    for sql in ["", " \t\n\r\u{b}\u{c}", " ;; ", "-- only a comment"] {
        assert_eq!(parse(sql).unwrap_err().code, Code::EmptyStatement, "{sql}");
    }
    assert_eq!(parsed("select 1;;").effect, Effect::Read);
    for sql in [
        "select 1; select 2",
        "select 1 -- x\r; delete from t",
        "select 1;;;drop table t;--",
    ] {
        assert_eq!(
            parse(sql).unwrap_err().code,
            Code::MultipleStatements,
            "{sql}"
        );
    }
}
