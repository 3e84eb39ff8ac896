//! Keys: nobody else reads them, and replacing one interrupts nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secondkey::core::engine::Engine;
use secondkey::core::ids::TokenId;
use secondkey::core::limits::Limits;
use secondkey::core::policy::{Decision, PolicySet, Question, Standing, decide};
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::review::Settings;
use secondkey::core::statement::{Effect, Names, Shape, Statement};
use secondkey::core::target::{Target, TargetName};
use secondkey::core::time::{Clock as _, Timestamp};
use secondkey::core::token::{SignedToken, TOKEN_LIFE_MS, TokenError};
use secondkey::core::work::Work;
use secondkey::store::{KeyKind, State, StoreError};

use super::{TestClock, open, request};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn everything_in_the_folder_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/state");
    let state = open(&path);
    state.log().checkpoint().await.unwrap();
    state.rotate_key(KeyKind::Token).await.unwrap();
    state.rotate_key(KeyKind::Audit).await.unwrap();
    assert_eq!((mode(&path), mode(&path.join("keys"))), (0o700, 0o700));
    let keys: Vec<_> = std::fs::read_dir(path.join("keys")).unwrap().collect();
    assert_eq!(keys.len(), 8, "{keys:?}");
    let others =
        ["state.lock", "state.db", "state.db-wal", "audit.heads"].map(|name| path.join(name));
    for file in keys
        .into_iter()
        .map(|file| file.unwrap().path())
        .chain(others)
    {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn what_others_could_read_is_refused_with_the_command_that_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    drop(open(&path));
    let key = path.join("keys/token-0001.pem");
    for (file, wrong, right) in [
        (&key, 0o640, 0o600),
        (&key, 0o604, 0o600),
        (&path, 0o750, 0o700),
    ] {
        set_mode(file, wrong);
        let opened = State::open(&path, TestClock::new());
        let refused = opened.and_then(|state| state.token_keys()).unwrap_err();
        let expected = StoreError::Insecure {
            path: file.clone(),
            mode: wrong,
        };
        assert_eq!(refused, expected);
        let mend = format!("chmod {right:o} {}", file.display());
        assert!(refused.to_string().contains(&mend), "{refused}");
        set_mode(file, right);
        assert!(open(&path).token_keys().is_ok());
    }
}

#[test]
fn a_damaged_key_is_named_and_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    drop(open(&path));
    let key = path.join("keys/token-0001.pem");
    std::fs::write(&key, "SECRET").unwrap();
    let refused = open(&path).token_keys().unwrap_err().to_string();
    assert!(
        refused.contains("token-0001.pem") && !refused.contains("SECRET"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_rotated_token_key_is_accepted_until_its_last_token_has_expired() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let clock = TestClock::new();
    let state = State::open(&path, clock.clone()).unwrap();
    let other_process = State::open(&path, clock.clone()).unwrap();
    let old = token(&state, &clock);
    let id = state.token_keys().unwrap().signer.key_id().to_owned();
    let rotated = state.rotate_key(KeyKind::Token).await.unwrap();
    assert_ne!(rotated, id);

    for process in [&state, &other_process] {
        let keys = process.token_keys().unwrap();
        assert_eq!(keys.signer.key_id(), rotated);
        let verify = |token: &SignedToken| {
            keys.verifier
                .verify(token.as_str().as_bytes(), work(), clock.now())
        };
        assert!(verify(&old).is_ok());
        assert!(verify(&token(process, &clock)).is_ok());
    }
    clock.advance(2 * TOKEN_LIFE_MS);
    let keys = state.token_keys().unwrap();
    let refused = keys
        .verifier
        .verify(old.as_str().as_bytes(), work(), clock.now());
    assert_eq!(refused.unwrap_err(), TokenError::Issuer);
    let again = State::open(&path, clock.clone()).unwrap();
    assert_eq!(again.token_keys().unwrap().signer.key_id(), rotated);
    assert_eq!(again.agent(), state.agent());
}

#[tokio::test]
async fn heads_of_a_rotated_audit_key_stay_valid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let state = open(&path);
    let before = state.log().checkpoint().await.unwrap();
    state.rotate_key(KeyKind::Audit).await.unwrap();
    let after = state.log().checkpoint().await.unwrap();
    for note in [before, after] {
        state.log().open_head(&note).unwrap().unwrap();
    }
    let report = state.log().verify(None).unwrap();
    assert_eq!((report.own_heads, report.bad_heads), (2, 0));
    assert_eq!(report.outcome.unwrap().against.unwrap().count, 3);
}

fn work() -> Work {
    Work::Sql {
        text: "select 1".into(),
        params: Vec::new(),
        salt: [3; 16],
    }
}

fn token(state: &State, clock: &TestClock) -> SignedToken {
    let statement = Statement {
        engine: Engine::Sqlite,
        effect: Effect::Read,
        kind: "select".into(),
        shape: Shape::Query,
        reasons: Vec::new(),
        reads: BTreeSet::new(),
        writes: BTreeSet::new(),
        names: Names::default(),
        columns_written: BTreeSet::new(),
        functions: BTreeSet::new(),
        has_where: None,
        findings: BTreeSet::new(),
        parts: Vec::new(),
        placeholders: 0,
        redacted: "select ?".into(),
    };
    let target = Target {
        name: TargetName::try_from("shop".to_owned()).unwrap(),
        engine: Engine::Sqlite,
        environment: "test".into(),
        labels: BTreeMap::new(),
        allow: BTreeSet::from([Effect::Read]),
        limits: Limits::DEFAULT,
        trusted: BTreeSet::new(),
        sync_reads: false,
        only_capabilities: false,
    };
    let (_, decision) = decide(&Question {
        capability: None,
        request: &request(1, 1),
        principal: &Principal::new(PrincipalKind::Ai, "ada/test"),
        standing: &Standing::NONE,
        target: &target,
        agent: state.agent(),
        work: work().digest(),
        statement: &statement,
        found: None,
        limits: Limits::DEFAULT,
        policy: &PolicySet::starter(),
        review: &Settings::DEFAULT,
        approved: None,
        purpose: secondkey::core::approval::Purpose::Run,
        at: Timestamp::from_unix_ms(1_000),
    });
    let Decision::Allow(grant) = decision else {
        panic!("{decision:?}")
    };
    let id = TokenId::new(1_700_000_000_000, [1; 10]);
    state
        .token_keys()
        .unwrap()
        .signer
        .sign(grant, id, clock.now())
}

#[tokio::test]
async fn keys_are_replaced_under_a_running_server() {
    use crate::support::program::Program;
    use crate::support::raw::{Era, Raw};
    use crate::support::shop;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    shop::create(&file);
    let program =
        Program::with_arguments(&["--database-url", &format!("sqlite:{}", file.display())]);
    let mut server = Raw::start(&program, Era::Modern).await;
    let sql = serde_json::json!({"sql": "SELECT count(*) FROM products"});
    for kind in ["token", "audit"] {
        let before = server.call("sql_execute", &sql).await;
        assert_eq!(before["result"]["isError"], false, "{before}");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_secondkey"))
            .args(["keys", "rotate", kind, "--state"])
            .arg(program.state())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let after = server.call("sql_execute", &sql).await;
        assert_eq!(after["result"]["isError"], false, "{after}");
    }
    assert!(server.finish().await.success());
    let verified = std::process::Command::new(env!("CARGO_BIN_EXE_secondkey"))
        .args(["audit", "verify", "--state"])
        .arg(program.state())
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
}
