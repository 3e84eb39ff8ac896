//! A database of one test's own, executors on it, and its state as another connection sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use secondkey::core::engine::Engine;
use secondkey::core::ids::{AgentId, RequestId, TokenId};
use secondkey::core::limits::Limits;
use secondkey::core::policy::{Decision, PolicySet, Question, Standing, decide};
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::refusal::Refusal;
use secondkey::core::review;
use secondkey::core::statement::{Effect, Shape, Statement, parse};
use secondkey::core::target::Target;
use secondkey::core::time::Timestamp;
use secondkey::core::token::{Signer, Verifier};
use secondkey::core::work::Work;
use secondkey::exec::{Event, Executor, ParsePool, Running, Settings};
use serde_json::Value;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use tokio_util::sync::CancellationToken;

use crate::support::variable;

/// What an answer holds when all of it has come.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) columns: Vec<(String, String)>,
    pub(super) rows: Vec<Vec<Value>>,
    pub(super) affected: Option<u64>,
}

/// The reading logins' password.
const PASSWORD: &str = "reads-only";

/// One database.
pub(super) struct Database {
    url: url::Url,
    /// The login that may only read. Roles belong to all databases, so each test has its own.
    pub(super) reader: String,
    pub(super) admin: Client,
    pub(super) effects: tempfile::TempDir,
}

/// A database made for `test`, with the corpus fixture in it; none without a server.
pub(super) async fn database(test: &str) -> Option<Database> {
    let Some(server) = variable("TEST_POSTGRES_URL") else {
        eprintln!("skipped: TEST_POSTGRES_URL is not set");
        return None;
    };
    let mut url = url::Url::parse(&server).unwrap();
    let maker = connect(&url).await;
    let name = format!("secondkey_{test}");
    for sql in [
        format!("drop database if exists {name} with (force)"),
        format!("create database {name}"),
        format!("drop role if exists {name}_ro"),
        format!("create role {name}_ro login password '{PASSWORD}'"),
    ] {
        maker.batch_execute(&sql).await.unwrap();
    }
    url.set_path(&name);
    let admin = connect(&url).await;
    let effects = tempfile::tempdir().unwrap();
    let made = Database {
        url,
        reader: format!("{name}_ro"),
        admin,
        effects,
    };
    made.reset().await;
    Some(made)
}

async fn connect(url: &url::Url) -> Client {
    let (client, connection) = tokio_postgres::connect(url.as_str(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl Database {
    /// The fixture as it was.
    pub(super) async fn reset(&self) {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/corpus/fixture_postgres.sql"
        );
        let sql = std::fs::read_to_string(path).unwrap();
        let sql = sql
            .replace("bench_ro", &self.reader)
            .replace("UPDATE pg_authid", "-- UPDATE pg_authid");
        // EXPLAIN DELETE and a sequence's value need these grants; they make the test no weaker.
        let text = format!(
            "select pg_advisory_lock(4711);\n{sql}\n; \
             grant select on all sequences in schema public to {reader}; \
             grant delete on orders to {reader}; select pg_advisory_unlock(4711)",
            reader = self.reader
        );
        self.admin.batch_execute(&text).await.unwrap();
    }

    /// An executor that logs in as `user` (the superuser when empty).
    pub(super) fn executor(&self, user: &str, allow: &[Effect], limits: Limits) -> Executor {
        self.executor_where(user, allow, limits, user.is_empty())
    }

    /// The same, saying whether a powerful login is accepted.
    pub(super) fn executor_where(
        &self,
        user: &str,
        allow: &[Effect],
        limits: Limits,
        allow_privileged_login: bool,
    ) -> Executor {
        let settings = Settings {
            target: target(allow, limits),
            url: self.url_of(user, &[]).to_string().into(),
            logins: BTreeMap::new(),
            allow_privileged_login,
        };
        Executor::new(settings, Arc::new(ParsePool::start().unwrap())).unwrap()
    }

    /// The same with more options in the URL.
    pub(super) fn executor_with(
        &self,
        user: &str,
        allow: &[Effect],
        options: &[(&str, &str)],
    ) -> Executor {
        let settings = Settings {
            target: target(allow, Limits::DEFAULT),
            url: self.url_of(user, options).to_string().into(),
            logins: BTreeMap::new(),
            allow_privileged_login: false,
        };
        Executor::new(settings, Arc::new(ParsePool::start().unwrap())).unwrap()
    }

    /// The URL for a login. Over a socket the user is a parameter, because the URL has no host.
    fn url_of(&self, user: &str, options: &[(&str, &str)]) -> url::Url {
        let mut url = self.url.clone();
        let kept = |name: &str| user.is_empty() || name != "user";
        let mut all: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| kept(name))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        all.extend(options.iter().map(|(n, v)| ((*n).into(), (*v).into())));
        if !user.is_empty() {
            all.push(("user".into(), user.into()));
            let _no_host = url
                .set_username(user)
                .and_then(|()| url.set_password(Some(PASSWORD)));
        }
        if !all.is_empty() {
            url.query_pairs_mut().clear().extend_pairs(&all);
        }
        url
    }

    /// What a statement could have changed, read on a connection of its own.
    pub(super) async fn state(&self) -> String {
        let watcher = connect(&self.url).await;
        let tables = "select relname from pg_class where relnamespace = 'public'::regnamespace \
            and relkind in ('r', 'm') order by 1";
        let mut state = Vec::new();
        for row in watcher.query(tables, &[]).await.unwrap() {
            let table: String = row.get(0);
            state.push(text(&watcher, &format!(
                "select '{table}', md5(string_agg(t::text, ',' order by t::text)) from public.\"{table}\" t"
            )).await);
        }
        for sql in [
            "select relname, relkind, relacl, reltriggers from (select relname, relkind, relacl, \
                relhastriggers as reltriggers from pg_class where relnamespace = 'public'::regnamespace \
                or relpersistence = 't') c order by 1",
            "select last_value, is_called from public.seq1",
            "select proname, md5(prosrc) from pg_proc where pronamespace = 'public'::regnamespace order by 1, 2",
            &format!(
                "select rolname, rolsuper, rolpassword from pg_authid where rolname in ('{}', 'x_r')",
                self.reader
            ),
            "select lomowner, loid, data from pg_largeobject_metadata m left join pg_largeobject l on l.loid = m.oid order by 2",
            "select * from pg_db_role_setting order by 1, 2",
            "select roname from pg_replication_origin order by 1",
            "select slot_name from pg_replication_slots order by 1",
            "select description from pg_description where objoid >= 16384 order by 1",
            "select evtname from pg_event_trigger order by 1",
            "select collname from pg_collation where collnamespace = 'public'::regnamespace order by 1",
            "select extname from pg_extension order by 1",
            "select rulename from pg_rewrite where oid >= 16384 order by 1",
            "select tgname, tgenabled from pg_trigger order by 1, 2",
            "select setting from pg_settings where name = 'statement_timeout'",
            "select count(*) from pg_stat_activity where application_name = 'victim' and datname = current_database()",
            "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database \
                where datname = current_database()) and pid in (select pid from pg_stat_activity where application_name = 'secondkey' or application_name like 'req\\_%')",
        ] {
            state.push(text(&watcher, sql).await);
        }
        let files = std::fs::read_dir(self.effects.path()).unwrap();
        state.push(format!("{} files", files.count()));
        state.join("\n")
    }
}

fn target(allow: &[Effect], limits: Limits) -> Target {
    Target {
        name: "t".parse().unwrap(),
        engine: Engine::Postgres,
        environment: "test".into(),
        labels: BTreeMap::new(),
        allow: allow.iter().copied().collect(),
        limits,
        trusted: BTreeSet::new(),
        sync_reads: false,
        only_capabilities: false,
    }
}

async fn text(client: &Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.unwrap();
    let row = |message: &SimpleQueryMessage| {
        let SimpleQueryMessage::Row(row) = message else {
            return None;
        };

        let values: Vec<_> = (0..row.len())
            .map(|at| row.get(at).unwrap_or("~"))
            .collect();
        Some(values.join("|"))
    };
    messages
        .iter()
        .filter_map(row)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Parses, judges, decides, signs, verifies and runs, as the whole program does; everything that
/// came.
pub(super) async fn run(
    executor: &Executor,
    sql: &str,
    params: &[Value],
) -> Result<Answer, Refusal> {
    collect(start(executor, sql, params, CancellationToken::new()).await?).await
}

/// The same, up to the point where rows begin to come.
pub(super) async fn start(
    executor: &Executor,
    sql: &str,
    params: &[Value],
    cancel: CancellationToken,
) -> Result<Running, Refusal> {
    let parser = ParsePool::start().unwrap();
    let statement = parser.parse(Engine::Postgres, sql).await?;
    let work = Work::Sql {
        text: sql.into(),
        params: params.to_vec(),
        salt: [3; 16],
    };
    let judged = executor.judge(statement, &work).await?;
    order(executor, judged, work, cancel).await
}

/// Runs a statement as if the guard had found this effect and shape in it: without the first layer.
pub(super) async fn unguarded(
    executor: &Executor,
    sql: &str,
    (effect, shape): (Effect, Shape),
) -> Result<Answer, Refusal> {
    let mut statement = parse(Engine::Postgres, "select 1").unwrap();
    statement.effect = effect;
    statement.shape = shape;
    let work = Work::Sql {
        text: sql.into(),
        params: Vec::new(),
        salt: [3; 16],
    };
    let running = order(
        executor,
        Arc::new(statement),
        work,
        CancellationToken::new(),
    );
    collect(running.await?).await
}

/// Decides, signs, verifies and runs.
async fn order(
    executor: &Executor,
    judged: Arc<Statement>,
    work: Work,
    cancel: CancellationToken,
) -> Result<Running, Refusal> {
    let key = SigningKey::from_bytes(&[7; 32]);
    let agent = AgentId::new(1, [1; 10]);
    let (_, decision) = decide(&Question {
        capability: None,
        request: &RequestId::new(1, [2; 10]),
        principal: &Principal::new(PrincipalKind::Ai, "test"),
        standing: &Standing::NONE,
        target: executor.target(),
        agent: &agent,
        work: work.digest(),
        statement: &judged,
        found: None,
        limits: executor.target().limits,
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
    let now = Timestamp::from_unix_ms(1_000);
    let verifier = Verifier::new(agent, [key.verifying_key()]);
    let signed = Signer::new(key).sign(grant, TokenId::new(1, [3; 10]), now);
    let token = verifier
        .verify(signed.as_str().as_bytes(), work, now)
        .unwrap();
    executor.run(token, judged, cancel).await
}

/// Reads an answer to its end.
pub(super) async fn collect(mut running: Running) -> Result<Answer, Refusal> {
    let mut rows = Vec::new();
    let columns = running.columns.iter();
    let columns = columns
        .map(|c| (c.name.clone(), c.type_name.clone()))
        .collect();
    loop {
        match running
            .events
            .recv()
            .await
            .expect("the stream ended without a word")
        {
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
