//! A target with a login for each effect: the least able one that suffices is used, as the server itself
//! records it.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

use super::{content, refusal};
use crate::support::program::Program;
use crate::support::raw::{Era, Raw};
use crate::support::{skip, variable};

/// Users of this test's own, on a database of its own.
struct Logins {
    admin: url::Url,
    name: String,
}

const PASSWORD: &str = "p@ss/w%41rd";

impl Logins {
    async fn on(variable_name: &str, test: &str) -> Option<Self> {
        let Some(server) = variable(variable_name) else {
            skip("stories::logins", &format!("no server ({variable_name})"));
            return None;
        };
        let mut admin = url::Url::parse(&server).unwrap();
        let name = format!("sk_logins_{test}");
        let this = Self {
            admin: admin.clone(),
            name: name.clone(),
        };
        this.run(&format!("DROP DATABASE IF EXISTS {name}")).await;
        this.run(&format!("CREATE DATABASE {name}")).await;
        admin.set_path(&name);
        Some(Self { admin, name })
    }

    fn is_postgres(&self) -> bool {
        self.admin.scheme().starts_with("postgres")
    }

    async fn run(&self, sql: &str) {
        if self.is_postgres() {
            let (client, connection) =
                tokio_postgres::connect(self.admin.as_str(), tokio_postgres::NoTls)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            client.batch_execute(sql).await.unwrap();
        } else {
            let url = self.admin.as_str();
            let mut own = sqlx::mysql::MySqlConnection::connect(url).await.unwrap();
            own.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
                .await
                .unwrap();
        }
    }

    /// A text, read on a connection of its own.
    async fn text(&self, sql: &str) -> String {
        if self.is_postgres() {
            let (client, connection) =
                tokio_postgres::connect(self.admin.as_str(), tokio_postgres::NoTls)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            let row = client
                .query_one(&format!("SELECT ({sql})::text"), &[])
                .await;
            return row.unwrap().get(0);
        }
        let url = self.admin.as_str();
        let mut own = sqlx::mysql::MySqlConnection::connect(url).await.unwrap();
        let sql = format!("SELECT CAST(({sql}) AS CHAR)");
        let row = own.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        row.unwrap().get_unchecked::<String, _>(0)
    }

    /// A configuration whose reads come as `reader`.
    fn config(&self, reader: &str) -> String {
        let mut url = self.admin.clone();
        url.set_username(reader).unwrap();
        url.set_password(None).unwrap();
        let login = |effect: &str| {
            format!(
                "[targets.main.logins.{effect}]\nuser = \"{}_{effect}\"\npassword = \"file:password\"\n",
                self.name
            )
        };
        format!(
            "[targets.main]\nurl = \"{url}\"\npassword = \"file:password\"\nallow = [\"read\", \"write\", \"schema\"]\n{}{}",
            login("write"),
            login("schema")
        )
    }

    async fn start(&self, reader: &str) -> (Program, Raw) {
        let program = Program::with_config(&self.config(reader));
        std::fs::write(program.folder.path().join("password"), PASSWORD).unwrap();
        let raw = Raw::start(&program, Era::Modern).await;
        (program, raw)
    }
}

#[tokio::test]
async fn postgres_sees_each_effect_come_by_its_own_login() {
    let Some(logins) = Logins::on("TEST_POSTGRES_URL", "pg").await else {
        return;
    };
    let name = &logins.name;
    for user in ["read", "write", "schema", "all"] {
        let user = format!("{name}_{user}");
        logins
            .run(&format!(
                "DO $$ BEGIN CREATE ROLE {user} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$; \
                 ALTER ROLE {user} PASSWORD '{PASSWORD}'"
            ))
            .await;
    }
    logins
        .run(&format!(
            "CREATE TABLE notes (id serial PRIMARY KEY, who text NOT NULL DEFAULT session_user); \
             GRANT SELECT ON notes TO {name}_read, {name}_write; GRANT INSERT ON notes TO {name}_write; \
             GRANT USAGE ON SEQUENCE notes_id_seq TO {name}_write; \
             GRANT CREATE ON SCHEMA public TO {name}_schema"
        ))
        .await;
    each_comes_by_its_own(&logins).await;
    let owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'made'";
    assert_eq!(logins.text(owner).await, format!("{name}_schema"));

    // One that can do everything is no login to read with where others are there for changes.
    let powerful = format!("{name}_all");
    logins
        .run(&format!("ALTER ROLE {powerful} SUPERUSER"))
        .await;
    let (_program, mut raw) = logins.start(&powerful).await;
    let refused = raw.call("sql_execute", &json!({"sql": "SELECT 1"})).await;
    assert_eq!(refusal(&refused)["code"], "privileged_login", "{refused}");
    raw.finish().await;
}

#[tokio::test]
async fn mariadb_sees_each_effect_come_by_its_own_login() {
    let Some(logins) = Logins::on("TEST_MARIADB_URL", "my").await else {
        return;
    };
    let name = &logins.name;
    for (user, rights) in [
        ("read", "SELECT, SHOW VIEW"),
        ("write", "SELECT, SHOW VIEW, INSERT"),
        ("schema", "SELECT, SHOW VIEW, CREATE"),
    ] {
        logins
            .run(&format!(
                "CREATE OR REPLACE USER {name}_{user} IDENTIFIED BY '{PASSWORD}'"
            ))
            .await;
        logins
            .run(&format!("GRANT {rights} ON {name}.* TO {name}_{user}"))
            .await;
    }
    logins
        .run("CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, who VARCHAR(100) NOT NULL DEFAULT (SUBSTRING_INDEX(USER(), '@', 1)))")
        .await;
    each_comes_by_its_own(&logins).await;
}

async fn each_comes_by_its_own(logins: &Logins) {
    let reader = format!("{}_read", logins.name);
    let (_program, mut raw) = logins.start(&reader).await;
    let insert = if logins.is_postgres() {
        "INSERT INTO notes DEFAULT VALUES"
    } else {
        "INSERT INTO notes () VALUES ()"
    };
    let made = raw.call("sql_execute", &json!({ "sql": insert })).await;
    assert_eq!(content(&made)["affected"], 1, "{made}");
    let who = "SELECT who FROM notes";
    assert_eq!(logins.text(who).await, format!("{}_write", logins.name));
    let read = raw.call("sql_execute", &json!({ "sql": who })).await;
    assert_eq!(
        content(&read)["rows"][0][0],
        format!("{}_write", logins.name)
    );
    let create = "CREATE TABLE made (id INT)";
    let made = raw.call("sql_execute", &json!({ "sql": create })).await;
    assert_ne!(made["isError"], true, "{made}");
    // A batch is one transaction, by the login for the worst in it.
    let batch = json!({"statements": [{"sql": "SELECT count(*) FROM notes"}, {"sql": insert}]});
    let done = raw.call("sql_batch", &batch).await;
    assert_ne!(done["isError"], true, "{done}");
    let count = "SELECT count(*) FROM notes";
    assert_eq!(logins.text(count).await, "2");
    raw.finish().await;
}
