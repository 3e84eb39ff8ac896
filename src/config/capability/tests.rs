use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn on_a_big_stack<T: Send>(job: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        thread.spawn_scoped(scope, job).unwrap().join().unwrap()
    })
}

fn read_all(text: &str) -> Result<Loaded, Problems> {
    on_a_big_stack(|| read(text, Path::new("capability.yaml"), Engine::Postgres))
}

fn problems(text: &str) -> String {
    read_all(text).unwrap_err().to_string()
}

const ONE: &str = "\
capabilities:
  get_customer:
    sql: select id, name from customers where id = :id
    params:
      id: { type: integer, required: true, minimum: 1 }
    result:
      id: { type: integer }
      name: { type: string }
";

#[test]
fn a_file_in_order_is_read_with_its_defaults() {
    let loaded = read_all(ONE).unwrap();
    let one = loaded.bundle.get("get_customer").unwrap();
    assert!(one.policy.readonly && one.policy.visible && !one.policy.approval);
    assert_eq!(
        (one.policy.limits.rows, one.policy.limits.time_ms),
        (100, 5_000)
    );
    assert_eq!(one.params.len(), 1);
    assert_eq!(one.result.as_ref().unwrap().len(), 2);
}

#[test]
fn a_file_that_was_written_for_onprest_is_read_as_it_is() {
    let text = include_str!("../../../tests/corpus/onprest-capability.yaml");
    let loaded = read_all(text).unwrap();
    let hold = loaded.bundle.get("hold_order").unwrap();
    assert_eq!(hold.policy.max_affected_rows, Some(1));
    assert_eq!(hold.policy.limits.time_ms, 3_000);
    let list = loaded.bundle.get("list_open_orders").unwrap();
    assert_eq!(list.policy.limits.rows, 20);
    assert_eq!(list.examples.len(), 1);
    let unused: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(unused.len(), 4, "{unused:?}");
    assert!(
        unused
            .iter()
            .any(|it| it.contains("`gateway`") && it.contains("agent join"))
    );
}

#[test]
fn every_mistake_is_found_at_once_with_its_line_and_column() {
    let text = "\
service: { titel: x }
defaults: { readonly: yes, timeout: 5 }
capabilities:
  a:
    sql: select :x, :y
    params:
      x: { type: integer, minLength: 1, default: a, enum: [] }
      y: { type: strin }
    policy: { max_rows: 0 }
  a.b: { sql: delete from t }
  a-b: { sql: select 1; select 2 }
  a-b: { sql: select 1 }
  health: { sql: select 1 }
";
    insta::assert_snapshot!(problems(text));
}

#[test]
fn a_statement_and_its_parameters_have_to_agree() {
    let text = "\
capabilities:
  a:
    sql: select $1
  b:
    sql: select :one
    params:
      two: { type: string }
  c:
    sql: update t set x = 1
  d:
    sql: drop table t
    policy: { readonly: false }
  e:
    sql: select 1
    policy: { max_affected_rows: 3 }
";
    insta::assert_snapshot!(problems(text));
}

#[test]
fn where_a_value_comes_from_is_said_once() {
    let text = "\
capabilities:
  a:
    sql: select :who, :key, :n
    params:
      who: { type: string, from: user, default: ada }
      key: { type: string, secret: true, value: hunter2 }
      n: { type: integer, secret: true }
";
    let problems = problems(text);
    assert!(problems.contains("does not go with `from`"), "{problems}");
    assert!(
        problems.contains("`value` must be a reference"),
        "{problems}"
    );
    assert!(problems.contains("go together"), "{problems}");
    assert!(!problems.contains("hunter2"), "{problems}");
}

#[test]
fn aliases_are_read_and_one_that_explodes_is_refused() {
    let text = "\
x: &a [1,1,1,1,1,1,1,1,1,1]
";
    assert!(problems(text).contains("unknown key `x`"));
    let shared = "\
capabilities:
  one: { sql: 'select :id', params: &p { id: { type: integer } } }
  two: { sql: 'select 1 + :id', params: *p }
";
    assert_eq!(read_all(shared).unwrap().bundle.iter().count(), 2);
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for n in 1..9 {
        let all = vec![format!("*a{}", n - 1); 10].join(",");
        writeln!(bomb, "a{n}: &a{n} [{all}]").unwrap();
    }
    assert!(read_all(&bomb).is_err());
    let deep = "[".repeat(20_000);
    assert!(read_all(&deep).is_err());
}

#[test]
fn the_digest_is_of_what_the_file_means_and_of_every_part_of_it() {
    let digest = |text: &str| read_all(text).unwrap().bundle.digest();
    let first = digest(ONE);
    assert_eq!(first, digest(&format!("# a comment\n{ONE}")));
    for (from, to) in [
        ("minimum: 1", "minimum: 2"),
        ("where id = :id", "where id  = :id"),
        ("name: { type: string }", "name: { type: json }"),
        ("required: true", "required: false"),
        (
            "capabilities:",
            "service: { version: 2.0.0 }\ncapabilities:",
        ),
        (
            "capabilities:",
            "defaults: { approval: true }\ncapabilities:",
        ),
    ] {
        assert_ne!(first, digest(&ONE.replace(from, to)), "{to}");
    }
}

#[test]
fn the_schema_in_the_checkout_is_the_one_made_from_the_keys() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/schemas/capability.schema.json"
    );
    let made = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::vars().any(|(name, _)| name == "UPDATE_DOCS") {
        std::fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, &made).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(there, made, "refresh it with UPDATE_DOCS=1");
}

#[test]
fn the_schema_takes_what_the_reader_takes() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    for text in [
        ONE,
        include_str!("../../../tests/corpus/onprest-capability.yaml"),
    ] {
        let value: Value = serde_saphyr::from_str(text).unwrap();
        assert!(schema.is_valid(&value), "{value}");
    }
    assert!(!schema.is_valid(&json!({"capabilities": {"a": {"sqll": "select 1"}}})));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        ".{0,12}".prop_map(Value::from),
        "[0-9-]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const EVERY: &str = "\
capabilities:
  every:
    sql: select :s, :i, :n, :b, :d, :t, :u, :m, :j, :l
    params:
      s: { type: string, minLength: 1, maxLength: 5, pattern: '^[a-z]' }
      i: { type: integer, minimum: -5, maximum: 5 }
      n: { type: number, maximum: 3 }
      b: { type: boolean }
      d: { type: date }
      t: { type: date-time }
      u: { type: uuid }
      m: { type: decimal }
      j: { type: json }
      l: { type: array, items: { type: integer, enum: [1, 2] } }
";

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(text in prop_oneof![".{0,60}", "[a-z:{}\\[\\]&*,|>\\-\" \n]{0,80}"]) {
        let whole = format!("capabilities:\n  a:\n    sql: select 1\n    {text}");
        let _ = on_a_big_stack(|| read(&text, Path::new("x"), Engine::Sqlite).is_ok());
        let _ = on_a_big_stack(|| read(&whole, Path::new("x"), Engine::MySql).is_ok());
    }

    /// What a schema says and what a call takes is one: nothing that the schema refuses gets in, and a
    /// refusal never holds the value.
    #[test]
    fn any_json_fits_or_names_the_parameter_and_the_rule(key in "[sinbdtumjl]", value in any_json()) {
        let bundle = read_all(EVERY).unwrap().bundle;
        let every = bundle.get("every").unwrap();
        let parameter = every.params.iter().find(|it| it.name == key).unwrap();
        match parameter.fit(value.clone()) {
            Ok(form) => {
                prop_assert_eq!(parameter.fit(form.clone()), Ok(form.clone()), "not settled");
                let contract = every.contract();
                let schema = crate::core::capability::input(&contract, serde_json::Map::new());
                let property = schema["properties"][&key].clone();
                let schema = jsonschema::validator_for(&property).unwrap();
                prop_assert!(schema.is_valid(&form), "{} {}", property, form);
            }
            Err(rule) => {
                let text = value.to_string();
                prop_assert!(text.len() < 8 || !rule.contains(&text), "{}", rule);
            }
        }
    }

    /// Whatever the database returns, what leaves is as the tool's schema says, or nothing leaves; and
    /// what is said then holds no value.
    #[test]
    fn any_row_is_answered_by_its_schema_or_not_at_all(
        kind in 0..18_usize,
        rows in prop::collection::vec((any_json(), any_json()), 0..4),
    ) {
        use crate::core::answer::Column;
        use crate::core::capability::{Scalar, output};
        let scalar = Scalar::ALL[kind % 9].as_str();
        let declared = if kind < 9 {
            format!("type: {scalar}")
        } else {
            format!("type: array, items: {{ type: {scalar} }}")
        };
        let text = format!("capabilities:\n  any:\n    sql: select x, c from t\n    result: {{ c: {{ {declared} }} }}\n");
        let bundle = read_all(&text).unwrap().bundle;
        let capability = bundle.get("any").unwrap();
        let columns = ["x", "c"].map(|name| Column { name: name.to_owned(), type_name: "any".to_owned() });
        let given = rows.iter().map(|(x, c)| vec![x.clone(), c.clone()]).collect();
        let schema = output(&capability.contract());
        let schema = jsonschema::validator_for(&Value::Object(schema)).unwrap();
        match capability.shaped(&columns, given) {
            Ok((columns, rows)) => {
                prop_assert_eq!(columns.len(), 1);
                let rows: Vec<Value> = rows.into_iter().map(|row| json!({ "c": row[0] })).collect();
                let answer = json!({ "request": "req", "rows": rows });
                prop_assert!(schema.is_valid(&answer), "{} {}", declared, answer);
            }
            Err(broken) => {
                let said = broken.to_string();
                let leaks = |value: &Value| {
                    let text = value.to_string();
                    text.len() >= 8 && said.contains(&text)
                };
                prop_assert!(!rows.iter().any(|(x, c)| leaks(x) || leaks(c)), "{}", said);
            }
        }
    }
}
