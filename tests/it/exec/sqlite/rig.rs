//! A database file of the test's own, and the whole way from a text to its answer.

#![expect(
    clippy::panic,
    reason = "a helper of a test fails by panicking, like the test itself"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use secondkey::core::answer::{Column, Row};
use secondkey::core::engine::Engine;
use secondkey::core::ids::{AgentId, RequestId, TokenId};
use secondkey::core::limits::Limits;
use secondkey::core::policy::{Decision, PolicySet, Question, Standing, decide};
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::refusal::Refusal;
use secondkey::core::review;
use secondkey::core::statement::{Effect, Statement};
use secondkey::core::target::Target;
use secondkey::core::time::Timestamp;
use secondkey::core::token::{Signer, VerifiedToken, Verifier};
use secondkey::core::work::Work;
use secondkey::exec::{Event, Executor, ParsePool, Running, Settings};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub(crate) struct Rig {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) executor: Executor,
    pub(crate) parser: Arc<ParsePool>,
    pub(crate) limits: Limits,
}

/// Everything that a statement answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) columns: Vec<Column>,
    pub(crate) pages: Vec<Vec<Row>>,
    pub(crate) affected: Option<u64>,
}

impl Answered {
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.pages.concat()
    }
}

pub(crate) fn fixture() -> String {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/corpus/fixture_sqlite.sql"
    );
    std::fs::read_to_string(path).unwrap()
}

impl Rig {
    /// The corpus's database, on which `allow` runs without approval.
    pub(crate) fn new(allow: &[Effect]) -> Self {
        Self::with(allow, &fixture(), &[])
    }

    pub(crate) fn with(allow: &[Effect], sql: &str, trusted: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("target.db");
        rusqlite::Connection::open(&path)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
        let parser = Arc::new(ParsePool::start().unwrap());
        let settings = Settings {
            target: Target {
                name: "test".parse().unwrap(),
                engine: Engine::Sqlite,
                environment: "test".into(),
                labels: BTreeMap::new(),
                allow: allow.iter().copied().collect::<BTreeSet<_>>(),
                limits: Limits::MAX,
                trusted: trusted.iter().map(ToString::to_string).collect(),
                sync_reads: false,
                only_capabilities: false,
            },
            url: format!("sqlite://{}", path.display()).into(),
            logins: BTreeMap::new(),
            allow_privileged_login: false,
        };
        Self {
            executor: Executor::new(settings, Arc::clone(&parser)).unwrap(),
            folder,
            parser,
            limits: Limits::DEFAULT,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("target.db")
    }

    /// A connection of the test's own, that knows nothing of the product.
    pub(crate) fn other(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }

    pub(crate) async fn judge(&self, work: &Work) -> Result<Arc<Statement>, Refusal> {
        let parsed = self.parser.parse(Engine::Sqlite, work.text()).await?;
        self.executor.judge(parsed, work).await
    }

    /// Judges, decides, signs and verifies.
    pub(crate) async fn permit(
        &self,
        sql: &str,
        params: &[Value],
    ) -> Result<(VerifiedToken, Arc<Statement>), Refusal> {
        let work = Work::Sql {
            text: sql.into(),
            params: params.to_vec(),
            salt: [3; 16],
        };
        let statement = self.judge(&work).await?;
        let agent = AgentId::new(1, [1; 10]);
        let (_, decision) = decide(&Question {
            capability: None,
            request: &RequestId::new(1, [2; 10]),
            principal: &Principal::new(PrincipalKind::Ai, "test"),
            standing: &Standing::NONE,
            target: self.executor.target(),
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
        let now = Timestamp::from_unix_ms(1_000);
        let token = Signer::new(key).sign(grant, TokenId::new(1, [3; 10]), now);
        Ok((
            verifier.verify(token.as_str().as_bytes(), work, now)?,
            statement,
        ))
    }

    pub(crate) async fn start(
        &self,
        sql: &str,
        params: &[Value],
        cancel: CancellationToken,
    ) -> Result<Running, Refusal> {
        let (token, statement) = self.permit(sql, params).await?;
        self.executor.run(token, statement, cancel).await
    }

    /// Runs a statement to its end.
    pub(crate) async fn run(&self, sql: &str, params: &[Value]) -> Result<Answered, Refusal> {
        finish(self.start(sql, params, CancellationToken::new()).await?).await
    }

    pub(crate) async fn rows(&self, sql: &str, params: &[Value]) -> Vec<Row> {
        self.run(sql, params)
            .await
            .unwrap_or_else(|r| panic!("{sql}: {r:?}"))
            .rows()
    }
}

/// Takes all events of a run.
pub(crate) async fn finish(mut running: Running) -> Result<Answered, Refusal> {
    let mut pages = Vec::new();
    while let Some(event) = running.events.recv().await {
        match event {
            Event::Rows(rows) => pages.push(rows),
            Event::Done { affected } => {
                assert!(
                    running.events.recv().await.is_none(),
                    "something follows the end"
                );
                return Ok(Answered {
                    columns: running.columns,
                    pages,
                    affected,
                });
            }
            Event::Failed(refusal) => return Err(refusal),
        }
    }
    panic!("the events ended without saying how");
}

/// Everything in the database that a statement could change, as text.
pub(crate) fn state(path: &Path) -> String {
    let db = rusqlite::Connection::open(path).unwrap();
    let mut state = String::new();
    for pragma in [
        "user_version",
        "application_id",
        "journal_mode",
        "page_size",
        "auto_vacuum",
        "encoding",
    ] {
        let sql = format!("SELECT quote({pragma}) FROM pragma_{pragma}");
        writeln!(
            state,
            "{pragma} {}",
            db.query_row(&sql, [], |r| r.get::<_, String>(0)).unwrap()
        )
        .unwrap();
    }
    let mut schema = db
        .prepare("SELECT name, type, sql FROM sqlite_schema ORDER BY 1")
        .unwrap();
    let tables: Vec<(String, String, Option<String>)> = schema
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (name, kind, sql) in tables {
        writeln!(state, "{kind} {name} {sql:?}").unwrap();
        if kind != "table" {
            continue;
        }
        let mut all = db.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
        let width = all.column_count();
        let mut rows = all.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for i in 0..width {
                write!(state, "{:?}|", row.get_ref(i).unwrap()).unwrap();
            }
            state.push('\n');
        }
    }
    state
}
