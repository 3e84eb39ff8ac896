//! Functions of the database as capabilities, on PostgreSQL: what is said in docs/free-sql.md.

use serde_json::json;

use super::batch::Bank;
use super::content;
use crate::support::program::Program;
use crate::support::raw::{Era, Raw};

const WORTH: &str = "service: { title: Bank, version: 1.0.0 }
capabilities:
  worth:
    description: What an account is worth
    sql: select worth(:account) as worth
    params: { account: { type: integer, required: true } }
    result: { worth: { type: integer } }
";

#[tokio::test]
async fn a_function_that_somebody_vouches_for_is_a_capability() {
    let banks = Bank::all("procedures").await.into_iter();
    for bank in banks.filter(|bank| bank.url.starts_with("postgres")) {
        let make = "CREATE FUNCTION worth(account int) RETURNS bigint LANGUAGE plpgsql STABLE AS
            $$ BEGIN RETURN (SELECT balance FROM accounts WHERE id = account); END $$;
            CREATE PROCEDURE pay(amount int) LANGUAGE sql AS
            $$ UPDATE accounts SET balance = balance - amount WHERE id = 1 $$";
        Bank::execute(&bank.url, make).await;
        let program = |trusted: &str, file: &str| {
            let config = format!(
                "[targets.bank]\nurl = \"env:BANK_URL\"\nallow = [\"read\", \"write\"]\n{trusted}\
                 allow_privileged_login = true\ncapabilities = \"capability.yaml\"\n"
            );
            let program = Program::with_config(&config).variable("BANK_URL", &bank.url);
            std::fs::write(program.folder.path().join("capability.yaml"), file).unwrap();
            program
        };
        for (trusted, worth) in [("trusted = [\"worth\"]\n", Some(100)), ("", None)] {
            let program = program(trusted, WORTH);
            let mut server = Raw::start(&program, Era::Legacy).await;
            let call = json!({"name": "worth", "params": {"account": 1}});
            let answer = server.call("capability_call", &call).await;
            match worth {
                Some(worth) => assert_eq!(content(&answer)["rows"], json!([{"worth": worth}])),
                // Nobody vouches for it: it may do anything.
                None => assert_eq!(answer["result"]["isError"], true, "{answer}"),
            }
            server.finish().await;
        }
        assert_eq!(bank.stands().await, [100, 5, 0]);
    }
}
