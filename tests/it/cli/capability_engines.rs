//! `secondkey capability` on each engine that there is a server of.

use std::process::Output;

use tempfile::TempDir;

use super::secondkey;
use crate::support::anywhere::Anywhere;

const TABLES: &str = "CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner VARCHAR(40), balance INTEGER NOT NULL CHECK (balance >= 0));
CREATE TABLE moves (source INTEGER NOT NULL, amount INTEGER NOT NULL);
INSERT INTO accounts VALUES (1, 'Ada', 100), (2, NULL, 5)";

const CHANGES: &str = "\
capabilities:
  deposit:
    description: Puts money in
    sql: update accounts set balance = balance + :amount where id = :id
    params: { id: { type: integer, required: true }, amount: { type: integer, required: true } }
    policy: { readonly: false, approval: true, max_affected_rows: 1 }
    examples: [{ params: { id: 1, amount: 5 } }]
  fee:
    description: Takes a fee of everybody
    sql: update accounts set balance = balance - 1
    policy: { readonly: false, max_affected_rows: 1 }
    examples: [{ params: {} }]
  overdraw:
    description: Takes more than there is
    sql: update accounts set balance = balance - 1000 where id = 1
    policy: { readonly: false }
    examples: [{ params: {} }]
  move:
    description: Writes a move down
    sql: insert into moves (source, amount) values (:source, :amount) returning source, amount
    params: { source: { type: integer, required: true }, amount: { type: integer, required: true } }
    policy: { readonly: false }
    result: { source: { type: integer } }
    examples: [{ params: { source: 2, amount: 7 } }]
  copy:
    description: Writes down what everybody has
    sql: insert into moves (source, amount) select id, balance from accounts returning source
    policy: { readonly: false, max_affected_rows: 1 }
    result: { source: { type: integer } }
    examples: [{ params: {} }]
  mistyped:
    description: Says that a number is text
    sql: insert into moves (source, amount) values (1, 1) returning source
    policy: { readonly: false }
    result: { source: { type: string } }
    examples: [{ params: {} }]
";

fn folder(file: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("capability.yaml"), file).unwrap();
    let config = "[targets.bank]\nurl = \"env:BANK_URL\"\nallow = [\"read\", \"write\"]\nallow_privileged_login = true\ncapabilities = \"capability.yaml\"\n";
    std::fs::write(folder.path().join("secondkey.toml"), config).unwrap();
    folder
}

async fn run(folder: &TempDir, bank: &Anywhere, verb: &str) -> (Option<i32>, String) {
    let mut command = secondkey(folder.path());
    command
        .args(["capability", verb, "--state", "state"])
        .env("USER", "ada")
        .env("BANK_URL", &bank.url);
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap());
    let Output {
        status,
        stdout,
        stderr,
    } = ran.await.unwrap();
    let both = [stdout, stderr].concat();
    (status.code(), String::from_utf8_lossy(&both).into_owned())
}

async fn stands(bank: &Anywhere) -> (i64, i64) {
    let balance = bank.number("SELECT SUM(balance) FROM accounts").await;
    let moves = bank.number("SELECT COUNT(*) FROM moves").await;
    (balance, moves)
}

#[tokio::test]
async fn the_examples_of_changes_run_and_nothing_of_them_stays() {
    for bank in Anywhere::all("capability_test", TABLES).await {
        let folder = folder(CHANGES);
        let (code, said) = run(&folder, &bank, "test").await;
        let engine = bank.engine();
        assert_eq!(code, Some(1), "{engine}: {said}");
        for line in [
            "  ok    deposit example 1: changes 1 row; rolled back",
            "  wrong fee example 1: this would change 2 rows and no more than 1 may (limit_reached)",
            "  wrong copy example 1: this would change 2 rows and no more than 1 may (limit_reached)",
            "  wrong overdraw example 1: ",
            "  ok    move example 1: changes 1 row, and answers 1 row; rolled back",
            "  wrong mistyped example 1: the answer of `mistyped` breaks its contract",
        ] {
            assert!(said.contains(line), "{engine}: {line} in {said}");
        }
        assert_eq!(stands(&bank).await, (105, 0), "{engine}: {said}");
        // It can be taken for nothing else: the log says what it was.
        let log = secondkey(folder.path())
            .args(["audit", "list", "--state", "state"])
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&log.stdout).into_owned();
        assert_eq!(log.matches("capability.rehearsed").count(), 6, "{log}");
    }
}

#[tokio::test]
async fn a_trigger_runs_with_an_example_and_is_undone_with_it() {
    for bank in Anywhere::all("capability_trigger", TABLES).await {
        let engine = bank.engine();
        let body = "INSERT INTO moves VALUES (NEW.id, 1)";
        let made = match engine {
            "sqlite" => format!(
                "CREATE TRIGGER t AFTER UPDATE ON accounts BEGIN {body}; SELECT RAISE(ABORT, 'no deposits today') WHERE NEW.id = 2; END"
            ),
            "mysql" => format!(
                "CREATE TRIGGER t AFTER UPDATE ON accounts FOR EACH ROW BEGIN {body}; IF NEW.id = 2 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no deposits today'; END IF; END"
            ),
            _ => format!(
                "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; IF NEW.id = 2 THEN RAISE EXCEPTION 'no deposits today'; END IF; RETURN NEW; END $$; CREATE TRIGGER t AFTER UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION t()"
            ),
        };
        bank.execute(&made).await;
        let file = CHANGES.replace(
            "examples: [{ params: { id: 1, amount: 5 } }]",
            "examples: [{ params: { id: 1, amount: 5 } }, { params: { id: 2, amount: 5 } }]",
        );
        let folder = folder(&file);
        let (_, said) = run(&folder, &bank, "test").await;
        assert!(
            said.contains("  ok    deposit example 1: changes 1 row"),
            "{engine}: {said}"
        );
        assert!(
            said.contains("  wrong deposit example 2: "),
            "{engine}: {said}"
        );
        assert!(said.contains("no deposits today"), "{engine}: {said}");
        assert_eq!(stands(&bank).await, (105, 0), "{engine}: {said}");
    }
}

#[tokio::test]
async fn what_mariadb_could_not_roll_back_is_not_run() {
    for bank in Anywhere::all("capability_firm", TABLES).await {
        if bank.engine() != "mysql" {
            continue;
        }
        bank.execute("ALTER TABLE moves ENGINE = MyISAM").await;
        bank.execute("CREATE TRIGGER t AFTER UPDATE ON accounts FOR EACH ROW INSERT INTO moves VALUES (NEW.id, 1)").await;
        let (code, said) = run(&folder(CHANGES), &bank, "test").await;
        assert_eq!(code, Some(1), "{said}");
        for name in ["deposit", "move"] {
            let refused = format!(
                "  wrong {name} example 1: the table `sk_capability_firm.moves` is of the engine MyISAM, which cannot roll back"
            );
            assert!(said.contains(&refused), "{said}");
        }
        assert_eq!(stands(&bank).await, (105, 0), "{said}");
    }
}

const THINGS: &str = "CREATE TABLE things (id uuid PRIMARY KEY, at date NOT NULL, amount numeric(10,2), doc jsonb, seen timestamptz, good boolean);
INSERT INTO things VALUES ('6f2a9f0e-0d5c-4b62-8f3a-1d2f3b4c5d6e', '2026-01-31', 12.50, '{\"a\": [1]}', '2026-01-31T09:30:00Z', true)";

const TYPED: &str = "\
capabilities:
  typed:
    sql: >-
      select id, at, amount, doc, seen, good, :who as who from things where id = :id and at = :at
      and amount = :amount and doc = :doc and seen = :seen and good = :good and id = any(:ids) limit 5
    params:
      id: { type: uuid, required: true }
      at: { type: date, required: true }
      amount: { type: decimal, required: true }
      doc: { type: json, required: true }
      seen: { type: date-time, required: true }
      good: { type: boolean, required: true }
      ids: { type: array, items: { type: uuid }, required: true }
      who: { type: string, from: kind }
    result:
      id: { type: uuid }
      at: { type: date }
      amount: { type: decimal }
      doc: { type: json }
      seen: { type: date-time }
      good: { type: boolean }
      who: { type: string }
    examples:
      - params:
          id: 6f2a9f0e-0d5c-4b62-8f3a-1d2f3b4c5d6e
          at: 2026-01-31
          amount: 12.5
          doc: { a: [1] }
          seen: '2026-01-31T10:30:00+01:00'
          good: true
          ids: [6f2a9f0e-0d5c-4b62-8f3a-1d2f3b4c5d6e]
  unlike:
    sql: select amount from things where amount = :amount and id = any(:ids) limit 1
    params:
      amount: { type: string, required: true }
      ids: { type: uuid, required: true }
    result: { amount: { type: boolean } }
";

#[tokio::test]
async fn every_type_reaches_postgresql_and_what_is_declared_otherwise_is_said() {
    for bank in Anywhere::all("capability_types", TABLES).await {
        if bank.engine() != "postgres" {
            continue;
        }
        for statement in THINGS.split(";\n") {
            bank.execute(statement).await;
        }
        let folder = folder(TYPED);
        let (code, said) = run(&folder, &bank, "check").await;
        assert_eq!(code, Some(0), "{said}");
        let (typed, unlike) = said.split_once("unlike:").unwrap();
        assert!(
            typed.contains("  ok    typed:") && !typed.contains("is declared"),
            "{said}"
        );
        for warning in [
            "the parameter `amount` is declared as string, and the database takes numeric",
            "the parameter `ids` is declared as uuid, and the database takes _uuid",
        ] {
            assert!(unlike.contains(warning), "{said}");
        }
        let (code, said) = run(&folder, &bank, "test").await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("  ok    typed example 1: 1 row"), "{said}");
    }
}

#[tokio::test]
async fn a_change_is_offered_withdrawn_with_a_reason_and_offered_again() {
    for bank in Anywhere::all("capability_drift", TABLES).await {
        let (engine, folder) = (bank.engine(), folder(CHANGES));
        let line = |said: &str| {
            let found = said.lines().find(|line| line.contains(" deposit "));
            found
                .unwrap_or_else(|| panic!("{engine}: {said}"))
                .to_owned()
        };
        let (code, said) = run(&folder, &bank, "check").await;
        assert_eq!(code, Some(0), "{engine}: {said}");
        assert_eq!(said.matches("  ok    ").count(), 6, "{engine}: {said}");
        let (_, said) = run(&folder, &bank, "list").await;
        assert!(line(&said).contains("offered"), "{engine}: {said}");
        bank.execute("ALTER TABLE accounts RENAME COLUMN balance TO credit")
            .await;
        let (_, said) = run(&folder, &bank, "list").await;
        assert!(
            line(&said).contains("withdrawn: its statement does not fit"),
            "{engine}: {said}"
        );
        bank.execute("ALTER TABLE accounts RENAME COLUMN credit TO balance")
            .await;
        let (_, said) = run(&folder, &bank, "list").await;
        assert!(line(&said).contains("offered"), "{engine}: {said}");
        assert_eq!(stands(&bank).await, (105, 0), "{engine}: {said}");
    }
}

const READS: &str = "\
capabilities:
  moves_of:
    description: What an account has moved
    sql: select source, amount from moves where source = :id
    params: { id: { type: integer, required: true } }
    result: { source: { type: integer }, amount: { type: string } }
    examples: [{ params: { id: 1 } }]
  account:
    description: One account
    sql: select id, balance from accounts where id = :id limit 1
    params: { id: { type: integer, required: true } }
    result: { id: { type: integer }, balance: { type: integer } }
    examples: [{ params: { id: 1 } }]
  owner:
    description: Whose it is, and nobody listed a column
    sql: select owner from accounts where id = :id limit 1
    params: { id: { type: integer, required: true } }
    examples: [{ params: { id: 1 } }]
  names:
    description: Says of two columns that they are never null
    sql: select id, owner from accounts where id = :id limit 1
    params: { id: { type: integer, required: true } }
    result: { id: { type: integer, nullable: false }, owner: { type: string, nullable: false } }
    examples: [{ params: { id: 1 } }]
  joined:
    description: What may have no partner
    sql: select a.id, m.amount from accounts a left join moves m on m.source = a.id limit 1
    result: { id: { type: integer, nullable: false }, amount: { type: integer, nullable: false } }
  gone:
    description: What there is not
    sql: select nothing_there from accounts limit 1
    result: { nothing_there: { type: integer } }
";

#[tokio::test]
async fn the_check_says_what_the_database_makes_of_each_statement() {
    for bank in Anywhere::all("capability_check", TABLES).await {
        let folder = folder(READS);
        let (code, said) = run(&folder, &bank, "check").await;
        let engine = bank.engine();
        assert_eq!(code, Some(1), "one cannot be run: {engine}: {said}");
        for words in [
            "its first example reads the whole of `moves`; an index would help once it grows",
            "nothing in the statement bounds its answer; `max_rows` cuts it at 100",
            "`amount` is declared as string and is ",
            "no column of its answer leaves; write `result: { owner: { type: string } }`",
            "  ok    account: reads, ",
            "  wrong gone: ",
        ] {
            assert!(said.contains(words), "{engine}: {words} in {said}");
        }
        let says = "in the database it can be";
        if engine == "postgres" {
            let known = "`owner` is declared never to be null, and in the database it can be";
            assert!(said.contains(known), "{said}");
            assert!(said.contains("names: reads, takes int4, answers id integer not null, owner character varying(40)"), "{said}");
            // Of a join nothing is known, so nothing is said.
            assert!(
                said.contains("joined: reads, answers id integer, amount integer"),
                "{said}"
            );
            assert_eq!(said.matches(says).count(), 1, "{said}");
        } else {
            assert!(!said.contains(says), "{engine}: {said}");
        }
        // What its key finds reads no whole table, and what has a limit is bounded.
        assert!(
            !said.contains("the whole of `accounts`"),
            "{engine}: {said}"
        );
        assert_eq!(
            said.matches("bounds its answer").count(),
            1,
            "{engine}: {said}"
        );
        assert_eq!(stands(&bank).await, (105, 0), "{engine}: {said}");
    }
}

#[tokio::test]
async fn a_null_where_there_is_to_be_none_is_no_answer() {
    for bank in Anywhere::all("capability_null", TABLES).await {
        let folder = folder(READS);
        let call = async |params: &str| {
            let mut command = secondkey(folder.path());
            command
                .args([
                    "capability",
                    "call",
                    "names",
                    "--params",
                    params,
                    "--state",
                    "state",
                ])
                .env("USER", "ada")
                .env("BANK_URL", &bank.url);
            let ran = tokio::task::spawn_blocking(move || command.output().unwrap());
            let Output { stdout, stderr, .. } = ran.await.unwrap();
            String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()
        };
        let engine = bank.engine();
        let whole = call(r#"{"id": 1}"#).await;
        assert!(whole.contains("\"owner\": \"Ada\""), "{engine}: {whole}");
        let broken = call(r#"{"id": 2}"#).await;
        assert!(
            broken.contains("the column `owner` is null, and the contract says that none is"),
            "{engine}: {broken}"
        );
        assert!(!broken.contains("\"id\""), "{engine}: {broken}");
    }
}
