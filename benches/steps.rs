//! What each step of a call costs. `cargo bench`; the figures are in `docs/performance.md`.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has nothing to say"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use secondkey::clock::SystemClock;
use secondkey::core::answer::{Row, integer, json_bytes};
use secondkey::core::audit::{Draft, EventKind};
use secondkey::core::engine::Engine;
use secondkey::core::ids::RequestId;
use secondkey::core::limits::Limits;
use secondkey::core::policy::{
    Decision, Facts, Grant, Outcome, PolicySet, Question, Standing, decide,
};
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::request::{Asked, Document, Request, Status};
use secondkey::core::review::Settings;
use secondkey::core::statement::{Effect, Statement, parse};
use secondkey::core::target::Target;
use secondkey::core::time::{Clock, Timestamp};
use secondkey::core::work::{Digest, Work};
use secondkey::ids::Ids;
use secondkey::store::requests::Filter;
use secondkey::store::{Start, State};
use serde_json::Value;

const POINT: &str = "select id, name, email from users where id = $1";
const JOIN: &str = "with recent as (select o.id, o.user_id, sum(i.quantity * i.price) as total from orders o \
    join items i on i.order_id = o.id where o.placed_at > $1 group by o.id, o.user_id) \
    select u.country, count(*), avg(r.total) from recent r join users u on u.id = r.user_id \
    group by 1 having count(*) > 10 order by 3 desc limit 20";

fn parsing(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse and classify");
    for engine in [Engine::Postgres, Engine::MySql, Engine::Sqlite] {
        for (name, sql) in [("point", POINT), ("join", JOIN)] {
            let sql = if engine == Engine::MySql {
                sql.replace("$1", "?")
            } else {
                sql.to_owned()
            };
            group.bench_function(format!("{engine}/{name}"), |b| {
                b.iter(|| parse(engine, black_box(&sql)).unwrap());
            });
        }
    }
}

fn target() -> Target {
    Target {
        name: "main".parse().unwrap(),
        engine: Engine::Postgres,
        environment: "bench".into(),
        labels: BTreeMap::new(),
        allow: BTreeSet::from([Effect::Read]),
        limits: Limits::DEFAULT,
        trusted: BTreeSet::new(),
        sync_reads: false,
        only_capabilities: false,
    }
}

struct Bench {
    state: State,
    ids: Ids,
    target: Target,
    principal: Principal,
    work: Work,
    statement: Statement,
}

impl Bench {
    fn new(folder: &std::path::Path) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self {
            state: State::open(folder, Arc::clone(&clock)).unwrap(),
            ids: Ids::new(clock).unwrap(),
            target: target(),
            principal: Principal::new(PrincipalKind::Ai, "bench"),
            work: Work::Sql {
                text: POINT.into(),
                params: vec![Value::from(7)],
                salt: [3; 16],
            },
            statement: parse(Engine::Postgres, POINT).unwrap(),
        }
    }

    fn grant(&self, request: &RequestId) -> Grant {
        let (_, decision) = decide(&Question {
            capability: None,
            request,
            principal: &self.principal,
            standing: &Standing::NONE,
            target: &self.target,
            agent: self.state.agent(),
            work: self.work.digest(),
            statement: &self.statement,
            found: None,
            limits: Limits::DEFAULT,
            policy: &PolicySet::starter(),
            review: &Settings::DEFAULT,
            approved: None,
            purpose: secondkey::core::approval::Purpose::Run,
            at: Timestamp::from_unix_ms(1_000),
        });
        match decision {
            Decision::Allow(grant) => grant,
            other @ (Decision::NeedsApproval(_) | Decision::Deny(_)) => panic!("{other:?}"),
        }
    }

    fn asked(&self, now: Timestamp) -> Asked {
        Asked {
            purpose: secondkey::core::approval::Purpose::Run,
            id: self.ids.request(),
            workspace: "local".into(),
            requester: self.principal.clone(),
            target: "main".into(),
            environment: "bench".into(),
            engine: Engine::Postgres,
            agent: self.state.agent().clone(),
            effect: Effect::Write,
            kind: "update".into(),
            statement: "update users set email = ? where id = ?".into(),
            reason: Some("the address has changed".into()),
            work: self.work.digest(),
            document: Document::new("x".repeat(2_000), now.plus_ms(90_000_000)),
            requirements: r#"[{"count":1,"group":"dba"}]"#.into(),
            workspace_policy: Digest::of(&[b"workspace"]),
            agent_policy: Digest::of(&[b"agent"]),
        }
    }

    fn intent(&self, request: &RequestId) -> Draft {
        Draft::new(SystemClock.now(), EventKind::ExecutionStarted)
            .by(&self.principal)
            .request(request)
            .target("main")
            .statement(&self.statement)
            .work(&self.work.digest())
    }
}

fn tokens(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let bench = Bench::new(&folder.path().join("state"));
    let keys = bench.state.token_keys().unwrap();
    let request = bench.ids.request();
    let now = SystemClock.now();
    c.bench_function("decide and sign", |b| {
        b.iter(|| {
            keys.signer
                .sign(bench.grant(&request), bench.ids.token(), now)
        });
    });
    let token = keys
        .signer
        .sign(bench.grant(&request), bench.ids.token(), now);
    c.bench_function("verify", |b| {
        b.iter(|| {
            keys.verifier
                .verify(token.as_str().as_bytes(), bench.work.clone(), now)
                .unwrap()
        });
    });
}

fn audit(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bench = runtime.block_on(async { Bench::new(&folder.path().join("state")) });
    let mut group = c.benchmark_group("audit");
    let start = |synced| {
        let request = bench.ids.request();
        let intent = bench.intent(&request);
        Start {
            request,
            token_not_before: SystemClock.now(),
            synced,
            intent,
            dispatched: None,
        }
    };
    for callers in [1_u64, 32] {
        group.throughput(Throughput::Elements(callers));
        group.bench_function(format!("append, {callers} callers"), |b| {
            b.to_async(&runtime).iter(|| async {
                let request = bench.ids.request();
                let appends =
                    (0..callers).map(|_| bench.state.log().append(bench.intent(&request)));
                assert!(join_all(appends).await.iter().all(Result::is_ok));
            });
        });
        for (name, synced) in [("unsynced", false), ("synced", true)] {
            group.bench_function(format!("begin, {name}, {callers} callers"), |b| {
                b.to_async(&runtime).iter(|| async {
                    let begins = (0..callers).map(|_| bench.state.log().begin(start(synced)));
                    assert!(join_all(begins).await.iter().all(Result::is_ok));
                });
            });
        }
    }
}

/// Ten thousand requests that wait for people, among as many that do not, in one list.
fn requests(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bench = runtime.block_on(async { Bench::new(&folder.path().join("state")) });
    let requests = bench.state.requests();
    let now = SystemClock.now();
    let file = |cancelled: bool| {
        let change = Request::submit(bench.asked(now), now)
            .then(|request| request.pend(now))
            .unwrap();
        let change = if cancelled {
            change.then(|request| request.cancel(&bench.principal, now))
        } else {
            Ok(change)
        };
        requests.file(change.unwrap(), None)
    };
    runtime.block_on(async {
        for _ in 0..100 {
            let filed = join_all((0..200).map(|n| file(n % 2 == 0))).await;
            assert!(filed.iter().all(Result::is_ok));
        }
    });
    let pending = Filter {
        statuses: vec![Status::Pending],
        limit: 10_000,
        ..Filter::default()
    };
    c.bench_function("requests/list_10000_pending", |b| {
        b.iter(|| {
            let page = requests.list(black_box(&pending)).unwrap();
            assert_eq!((page.requests.len(), page.damaged.len()), (10_000, 0));
            page
        });
    });
}

fn encoding(c: &mut Criterion) {
    let row = |n: i64| -> Row {
        (0..10)
            .map(|c| {
                if c % 2 == 0 {
                    integer((n * c).into())
                } else {
                    Value::from(format!("value {n}"))
                }
            })
            .collect()
    };
    let rows: Vec<Row> = (0..10_000).map(row).collect();
    let mut group = c.benchmark_group("encode 10,000 x 10");
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("count bytes", |b| {
        b.iter(|| rows.iter().map(|row| json_bytes(row)).sum::<usize>());
    });
    group.bench_function("write JSON", |b| {
        b.iter(|| serde_json::to_string(black_box(&rows)).unwrap());
    });
}

/// 200 rules of the shapes that people write, of which few match.
fn rules() -> String {
    let reads = "permit (principal, action, resource) when { context.effect == \"read\" };\n";
    let mut rules = vec![reads.to_owned()];
    for number in 0..199 {
        rules.push(match number % 4 {
            0 => format!("@id(\"r{number}\") forbid (principal, action, resource) when {{ context.touches.contains(\"secret_{number}\") }};\n"),
            1 => format!("@id(\"r{number}\") @ask(\"1 of dba\") permit (principal is Ai, action, resource == Target::\"t{number}\") when {{ context.effect == \"write\" }};\n"),
            2 => format!("@id(\"r{number}\") @limit(\"rows=50\") permit (principal, action, resource) when {{ principal.groups.contains(\"team_{number}\") && context.level <= 1 }};\n"),
            _ => format!("@id(\"r{number}\") forbid (principal, action, resource) when {{ resource.environment == \"env_{number}\" && context.hour > 18 }};\n"),
        });
    }
    rules.concat()
}

fn policy(c: &mut Criterion) {
    let policy = PolicySet::load(&rules(), "bench.cedar", None).unwrap();
    assert_eq!(policy.len(), 200);
    let statement = parse(Engine::Postgres, JOIN).unwrap();
    let target = target();
    let principal = Principal::new(PrincipalKind::Ai, "bench");
    let facts = Facts {
        principal: &principal,
        standing: &Standing::NONE,
        target: &target,
        effect: statement.effect,
        statement: &statement,
        capability: None,
        findings: &[],
        rows: None,
        break_glass: false,
        at: SystemClock.now(),
    };
    assert_eq!(policy.judge(&facts).outcome, Outcome::Allow);
    c.bench_function("policy/judge_200_rules, remembered", |b| {
        b.iter(|| policy.judge(black_box(&facts)));
    });
    // A number that was never there before: nothing is remembered about it.
    let mut rows = 0;
    let mut new_facts = || {
        rows += 1;
        Facts {
            rows: Some(rows),
            ..facts
        }
    };
    c.bench_function("policy/judge_200_rules, new facts", |b| {
        b.iter(|| policy.judge(black_box(&new_facts())));
    });
    let other = PolicySet::load(&rules(), "agent.cedar", None).unwrap();
    let pair = |facts: &Facts<'_>| {
        let start = Instant::now();
        let judged = black_box((policy.judge(facts), other.judge(facts)));
        let taken = start.elapsed();
        assert_eq!(judged.0.outcome, judged.1.outcome);
        taken
    };
    let mut taken: Vec<Duration> = (0..10_000).map(|_| pair(&new_facts())).collect();
    taken.sort_unstable();
    let at = |share: usize| taken.get(taken.len() * share / 100).copied();
    let told = writeln!(
        std::io::stdout(),
        "policy/both judgements, 200 rules each, new facts: p50 {:.0?}, p99 {:.0?}",
        at(50).unwrap_or_default(),
        at(99).unwrap_or_default()
    );
    told.unwrap();
    let starter = PolicySet::starter();
    c.bench_function("policy/judge_starter, new facts", |b| {
        b.iter(|| starter.judge(black_box(&new_facts())));
    });
}

criterion_group!(steps, parsing, tokens, policy, audit, requests, encoding);
criterion_main!(steps);
