use crate::core::engine::Engine;
use crate::core::statement::parse;

const ALL: [Engine; 3] = [Engine::MySql, Engine::Postgres, Engine::Sqlite];

fn findings(engine: Engine, sql: &str) -> Vec<&'static str> {
    let statement = parse(engine, sql).unwrap_or_else(|error| panic!("{engine}: {sql}: {error}"));
    statement
        .findings
        .iter()
        .map(|rule| rule.as_str())
        .collect()
}

#[track_caller]
fn finds(engines: &[Engine], sql: &str, rules: &[&str]) {
    for engine in engines {
        assert_eq!(findings(*engine, sql), rules, "{engine}: {sql}");
    }
}

fn columns(engine: Engine, sql: &str) -> String {
    let statement = parse(engine, sql).unwrap_or_else(|error| panic!("{engine}: {sql}: {error}"));
    let columns: Vec<_> = statement
        .columns_written
        .iter()
        .map(ToString::to_string)
        .collect();
    columns.join(" ")
}

const MYSQL: [Engine; 1] = [Engine::MySql];
const POSTGRES: [Engine; 1] = [Engine::Postgres];

#[test]
fn a_change_of_every_row_is_found() {
    for sql in [
        "update t set a = 1",
        "delete from t",
        "update t set a = (select max(b) from u where u.id = 1)",
        "update t set a = case when b then 1 else 2 end",
        "delete from t -- where id = 1",
    ] {
        finds(&ALL, sql, &["no_where"]);
    }
    finds(
        &POSTGRES,
        "with d as (delete from t returning *) select * from d",
        &["no_where"],
    );
    finds(&POSTGRES, "explain analyze delete from t", &["no_where"]);
}

#[test]
fn a_change_of_chosen_rows_is_none() {
    for sql in [
        "update t set a = 1 where id = 3",
        "delete from t where id in (select 1)",
        "update t set a = (select 1) where exists (select 1 from u)",
        "insert into t (a) values (1)",
        "select * from t",
        "explain delete from t",
    ] {
        finds(&ALL, sql, &[]);
    }
    for sql in [
        "delete from t limit 10",
        "update t set a = 1 order by id limit 1",
        "update t join u on t.id = u.id set t.a = 1",
        "delete t from t join u on t.id = u.id",
        "update t, u set t.a = 1",
    ] {
        finds(&MYSQL, sql, &[]);
    }
    finds(&POSTGRES, "delete from t where current of c", &[]);
}

#[test]
fn a_where_that_is_always_true_is_found() {
    for condition in [
        "1 = 1",
        "(1 = 1)",
        "((true))",
        "'a' = 'a'",
        "id = 3 or 1 = 1",
        "true and (id = 3 or 2 = 2)",
    ] {
        finds(
            &ALL,
            &format!("delete from t where {condition}"),
            &["where_always_true"],
        );
        finds(
            &ALL,
            &format!("update t set a = 1 where {condition}"),
            &["where_always_true"],
        );
    }
    finds(&MYSQL, "delete from t where 1", &["where_always_true"]);
    finds(
        &MYSQL,
        "delete from t where 1 order by id",
        &["where_always_true"],
    );
}

#[test]
fn a_where_that_only_looks_so_is_none() {
    for condition in [
        "1 = 2",
        "id = 1",
        "id = id",
        "'a' = 'b'",
        "id = 3 and 1 = 1",
        "(1 = 1) and (id = 2)",
        "case when a = 1 or 1 = 1 then b = 2 else b = 3 end",
        "id between 1 and 1",
        "exists (select 1 where 1 = 1)",
        "not (1 = 1)",
        "not 1 = 1",
        "a is not null or (b = 2 and true)",
    ] {
        finds(&ALL, &format!("delete from t where {condition}"), &[]);
    }
    finds(&MYSQL, "delete from t where 1 xor a", &[]);
    finds(&MYSQL, "delete from t where 0", &[]);
    finds(&MYSQL, "delete from t where ?", &[]);
}

#[test]
fn has_where_is_known_for_changes_alone() {
    for engine in ALL {
        let known = |sql: &str| parse(engine, sql).unwrap().has_where;
        assert_eq!(known("delete from t"), Some(false));
        assert_eq!(known("update t set a = 1 where true"), Some(true));
        assert_eq!(known("select * from t where a = 1"), None);
        assert_eq!(known("insert into t select * from u where a = 1"), None);
    }
}

#[test]
fn what_is_dropped_and_emptied_is_found() {
    finds(&ALL, "drop table t", &["drop"]);
    finds(
        &[Engine::Postgres, Engine::Sqlite],
        "drop index if exists i",
        &["drop"],
    );
    finds(&ALL, "alter table t drop column a", &["drop"]);
    finds(
        &[Engine::MySql, Engine::Postgres],
        "truncate table t",
        &["truncate"],
    );
    finds(&POSTGRES, "alter table t drop constraint c", &[]);
}

#[test]
fn risky_alterations_are_found() {
    let unfilled = &["not_null_without_default"];
    finds(&ALL, "alter table t add column a int not null", unfilled);
    finds(
        &ALL,
        "alter table t add column a int not null default 3",
        &[],
    );
    finds(&ALL, "alter table t add column a int", &[]);
    finds(&ALL, "create table t (a int not null)", &[]);
    finds(
        &MYSQL,
        "alter table t add a int not null, add b int null",
        unfilled,
    );
    finds(
        &MYSQL,
        "alter table t add a int not null auto_increment",
        &[],
    );
    finds(
        &MYSQL,
        "alter table t add constraint c check (a is not null)",
        &[],
    );
    finds(&POSTGRES, "alter table t add column a serial not null", &[]);
    finds(
        &POSTGRES,
        "alter table t add column a int not null generated always as identity",
        &[],
    );
    finds(
        &POSTGRES,
        "alter table t add column a my_domain not null",
        &[],
    );
    let retyped = &["column_type_change"];
    finds(
        &POSTGRES,
        "alter table t alter column a type bigint",
        retyped,
    );
    finds(&MYSQL, "alter table t modify a bigint", retyped);
    finds(&MYSQL, "alter table t change a b bigint", retyped);
    finds(&MYSQL, "alter table t rename column modify to changed", &[]);
}

#[test]
fn an_index_should_be_built_beside_the_writers() {
    finds(&POSTGRES, "create index i on t (a)", &["index_locks_table"]);
    finds(
        &POSTGRES,
        "create unique index concurrently i on t (a)",
        &[],
    );
    finds(
        &[Engine::MySql, Engine::Sqlite],
        "create index i on t (a)",
        &[],
    );
}

#[test]
fn tables_that_are_made_and_filled_are_found() {
    finds(
        &ALL,
        "create table t as select * from u",
        &["mixed_ddl_dml"],
    );
    finds(&POSTGRES, "select * into t from u", &["mixed_ddl_dml"]);
    finds(
        &POSTGRES,
        "create table t as select * from u with no data",
        &[],
    );
    finds(&ALL, "create table t (a int)", &[]);
}

#[test]
fn lists_are_long_beyond_a_thousand() {
    let list = |count: usize| vec!["1"; count].join(", ");
    let pairs = |count: usize| vec!["(1, 2)"; count].join(", ");
    finds(
        &ALL,
        &format!("select * from t where a in ({})", list(1_000)),
        &[],
    );
    finds(
        &ALL,
        &format!("select * from t where a in ({})", list(1_001)),
        &["long_in_list"],
    );
    finds(
        &ALL,
        &format!("select * from t where (a, b) in ({})", pairs(600)),
        &[],
    );
    finds(
        &ALL,
        &format!(
            "select * from t where a in (select coalesce({}))",
            list(1_500)
        ),
        &[],
    );
}

#[test]
fn columns_are_seen() {
    for engine in ALL {
        assert_eq!(
            columns(engine, "update t set a = 1, b = b + 1 where c = 1"),
            "t.a t.b"
        );
        assert_eq!(
            columns(engine, "insert into t (a, b) values (1, 2)"),
            "t.a t.b"
        );
        assert_eq!(columns(engine, "insert into t values (1, 2)"), "*");
        assert_eq!(columns(engine, "insert into t select a, b from u"), "*");
        assert_eq!(columns(engine, "insert into s.t (A) select 1"), "t.a");
        assert_eq!(columns(engine, "delete from t"), "");
        assert_eq!(columns(engine, "select a from t"), "");
    }
    for engine in [Engine::Postgres, Engine::Sqlite] {
        let upsert =
            "insert into t (a) values (1) on conflict (a) do update set b = 2, c = 3 where t.d = 1";
        assert_eq!(columns(engine, upsert), "t.a t.b t.c");
        assert_eq!(
            columns(engine, "update t set (a, b) = (select 1, 2) where c = 3"),
            "t.a t.b"
        );
    }
    let upsert = "insert into t (a) values (1) on duplicate key update b = 2, c = values(c)";
    assert_eq!(columns(Engine::MySql, upsert), "t.a t.b t.c");
    assert_eq!(
        columns(Engine::MySql, "insert into t set a = 1, b = 2"),
        "t.a t.b"
    );
    assert_eq!(columns(Engine::MySql, "update `t` set t.`A` = 1"), "t.a");
    assert_eq!(
        columns(
            Engine::MySql,
            "update t join u on t.i = u.i set t.a = 1, u.b = 2"
        ),
        "t.a u.b"
    );
    let merge = "merge into t using u on t.i = u.i when matched then update set a = 1 when not matched then insert values (1)";
    assert_eq!(columns(Engine::Postgres, merge), "* t.a");
}

#[test]
fn functions_are_seen_whatever_they_are() {
    for engine in ALL {
        let statement = parse(engine, "select lower(a), my_own(b) from t").unwrap();
        let functions: Vec<_> = statement
            .functions
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(functions, ["lower", "my_own"], "{engine}");
    }
}
