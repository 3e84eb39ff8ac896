use std::collections::BTreeMap;

use insta::assert_snapshot;

use super::*;
use crate::core::engine::Engine;
use crate::core::policy::facts::{SCHEMA, Standing};
use crate::core::policy::judgement::strictest;
use crate::core::policy::requirement::Surfaces;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::review::{Finding, Rule as ReviewRule};
use crate::core::signer::Presence;
use crate::core::statement::parse;
use crate::core::target::Target;
use crate::core::time::Timestamp;

/// A question to a policy, with what is usual.
#[derive(Debug)]
struct Case {
    principal: Principal,
    standing: Standing,
    target: Target,
    sql: &'static str,
    findings: Vec<Finding>,
    rows: Option<u64>,
    break_glass: bool,
    at: Timestamp,
}

impl Case {
    fn of(sql: &'static str) -> Self {
        Self {
            principal: Principal::new(PrincipalKind::Ai, "ada/claude"),
            standing: Standing::default(),
            target: Target {
                name: "shop".parse().unwrap(),
                engine: Engine::Sqlite,
                environment: "test".into(),
                labels: BTreeMap::new(),
                allow: [Effect::Read].into(),
                limits: Limits::DEFAULT,
                trusted: BTreeSet::new(),
                sync_reads: false,
                only_capabilities: false,
            },
            sql,
            findings: Vec::new(),
            rows: None,
            break_glass: false,
            // A Sunday, 22:13.
            at: Timestamp::from_unix_ms(1_700_000_000_000 - 2 * 86_400_000),
        }
    }

    fn production(mut self) -> Self {
        self.target.environment = "production".into();
        self
    }

    fn allowing(mut self, effects: &[Effect]) -> Self {
        self.target.allow = effects.iter().copied().collect();
        self
    }

    fn judged(&self, policy: &PolicySet) -> Judgement {
        let statement = parse(Engine::Sqlite, self.sql).unwrap();
        policy.judge(&Facts {
            principal: &self.principal,
            standing: &self.standing,
            target: &self.target,
            effect: statement.effect,
            statement: &statement,
            capability: None,
            findings: &self.findings,
            rows: self.rows,
            break_glass: self.break_glass,
            at: self.at,
        })
    }

    /// `allow`, `deny (why)` or the quorums, and the rules.
    fn outcome(&self, policy: &PolicySet) -> String {
        let judgement = self.judged(policy);
        let outcome = match &judgement.outcome {
            Outcome::Allow => "allow".to_owned(),
            Outcome::Deny(denial) => format!("deny ({denial:?})"),
            Outcome::Ask(asks) => {
                let asks: Vec<_> = asks.iter().map(ToString::to_string).collect();
                format!("ask {}", asks.join(" and "))
            }
        };
        format!("{outcome} by {}", judgement.rules.join(" "))
    }
}

fn policy(text: &str) -> PolicySet {
    PolicySet::load(text, "policy.cedar", None).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(text: &str) -> String {
    let known = BTreeSet::from(["dba".to_owned()]);
    PolicySet::load(text, "policy.cedar", Some(&known))
        .unwrap_err()
        .to_string()
}

const DELETE: &str = "delete from orders where id = 1";

#[test]
fn the_schema_is_sound() {
    let (_, warnings) = cedar_policy::Schema::from_cedarschema_str(SCHEMA).unwrap();
    assert_eq!(warnings.count(), 0);
}

#[test]
fn the_built_in_policies_are_in_force() {
    assert_eq!(PolicySet::starter().len(), 5);
    assert_eq!(PolicySet::agent_default().len(), 4);
    assert_ne!(
        PolicySet::starter().digest(),
        PolicySet::agent_default().digest()
    );
}

#[test]
fn the_starter_policy_lets_read_and_asks_for_the_rest() {
    let starter = PolicySet::starter();
    let outcome = |case: Case| case.outcome(&starter);
    assert_eq!(outcome(Case::of("select 1")), "allow by target-allows");
    assert_eq!(outcome(Case::of(DELETE)), "ask 1 of anyone by writes-ask");
    assert_eq!(
        outcome(Case::of("drop table t")),
        "ask 1 of anyone by schema-asks"
    );
    assert_eq!(outcome(Case::of("vacuum")), "deny (Admin) by ");
    assert_eq!(
        outcome(Case::of(DELETE).production()),
        "ask 1 of anyone by production-asks"
    );
    let reads = Case::of("select 1").allowing(&[]);
    assert_eq!(outcome(reads), "ask 1 of anyone by reads-ask");
}

#[test]
fn in_production_both_built_in_policies_want_a_touched_key_and_a_screen_of_ones_own() {
    for built_in in [PolicySet::starter(), PolicySet::agent_default()] {
        let judged = Case::of(DELETE).production().judged(&built_in);
        let [asked] = judged.requirements() else {
            panic!("{judged:?}");
        };
        assert_eq!(asked.presence, Presence::Hardware);
        assert_eq!(asked.surfaces, Surfaces::Own);
    }
}

#[test]
fn what_a_target_allows_runs_under_both_built_in_policies() {
    for built_in in [PolicySet::starter(), PolicySet::agent_default()] {
        let writes = [Effect::Read, Effect::Write];
        assert_eq!(
            Case::of(DELETE).allowing(&writes).outcome(&built_in),
            "allow by target-allows"
        );
        let production = Case::of(DELETE).production().allowing(&writes);
        assert_eq!(production.outcome(&built_in), "allow by target-allows");
        let all = Case::of("vacuum").allowing(&[Effect::Admin]);
        assert_eq!(all.outcome(&built_in), "allow by target-allows");
    }
}

#[test]
fn the_agents_own_policy_asks_for_changes() {
    let own = PolicySet::agent_default();
    assert_eq!(
        Case::of("select 1").allowing(&[]).outcome(&own),
        "allow by reads-run"
    );
    assert_eq!(
        Case::of(DELETE).outcome(&own),
        "ask 1 of anyone by changes-ask"
    );
    assert_eq!(
        Case::of(DELETE).production().outcome(&own),
        "ask 1 of anyone by production-asks"
    );
    assert_eq!(Case::of("vacuum").outcome(&own), "deny (Admin) by ");
}

#[test]
fn production_wants_a_key_that_proves_presence_whatever_the_rule_says() {
    let rule =
        policy(r#"@ask("1 of anyone; presence=unattended") permit (principal, action, resource);"#);
    let presence = |case: &Case| case.judged(&rule).requirements()[0].presence;
    assert_eq!(presence(&Case::of(DELETE)), Presence::Unattended);
    assert_eq!(presence(&Case::of(DELETE).production()), Presence::Hardware);
}

#[test]
fn the_strictest_of_all_rules_wins() {
    let text = r#"
        @id("all") @limit("rows=50, time=9s") permit (principal, action, resource);
        @id("a") @ask("1 of dba") @limit("rows=70, time=2s") @reason("dba look at orders")
        permit (principal, action, resource) when { context.touches.contains("orders") };
        @id("b") @ask("1 of owner") permit (principal, action, resource) when { context.kind == "delete" };
        @id("no") @reason("nobody touches pay")
        forbid (principal, action, resource) when { context.touches.contains("pay") };
    "#;
    let rules = policy(text);
    assert_eq!(Case::of("select 1").outcome(&rules), "allow by all");
    assert_eq!(
        Case::of("select * from orders").outcome(&rules),
        "ask 1 of dba by a"
    );
    let both = Case::of(DELETE);
    assert_eq!(both.outcome(&rules), "ask 1 of dba and 1 of owner by a b");
    let judgement = both.judged(&rules);
    assert_eq!(
        (judgement.limits.rows, judgement.limits.time_ms),
        (50, 2_000)
    );
    assert_eq!(judgement.limits.bytes, Limits::MAX.bytes);
    assert_eq!(judgement.reasons, ["dba look at orders"]);
    let forbidden = Case::of("delete from hr.pay where exists (select * from orders)");
    assert_eq!(forbidden.outcome(&rules), "deny (Rule) by no");
    assert_eq!(forbidden.judged(&rules).reasons, ["nobody touches pay"]);
}

#[test]
fn what_no_rule_mentions_is_denied() {
    let rules = policy("permit (principal is Human, action, resource);");
    assert_eq!(Case::of("select 1").outcome(&rules), "deny (NoRule) by ");
    let mut human = Case::of("select 1");
    human.principal = Principal::new(PrincipalKind::Human, "ada");
    assert_eq!(human.outcome(&rules), "allow by line 1");
}

#[test]
fn a_rule_that_cannot_be_evaluated_denies_even_where_cedar_would_allow() {
    // Long arithmetic overflows: the one error that the validator cannot rule out.
    let text = "
        permit (principal, action, resource);
        forbid (principal, action, resource) when { context.rows + 9223372036854775807 < 0 };
    ";
    let rules = policy(text);
    let mut case = Case::of("select 1");
    assert_eq!(case.outcome(&rules), "allow by line 2");
    case.rows = Some(1);
    assert_eq!(case.outcome(&rules), "deny (Error) by ");
}

#[test]
fn admin_is_denied_whatever_the_rules_say() {
    let rules = policy("permit (principal, action, resource);");
    assert_eq!(Case::of("vacuum").outcome(&rules), "deny (Admin) by line 1");
}

#[test]
fn a_blocking_finding_denies() {
    let rules = policy("permit (principal, action, resource);");
    let mut case = Case::of("delete from orders");
    case.findings = vec![Finding {
        rule: ReviewRule::NoWhere,
        level: Level::Warn,
    }];
    assert_eq!(case.outcome(&rules), "allow by line 1");
    case.findings[0].level = Level::Block;
    assert_eq!(case.outcome(&rules), "deny (Review) by line 1");
}

#[test]
fn breaking_the_glass_takes_one_signature_and_opens_nothing_that_is_shut() {
    let rules = policy(
        "@id(\"reads\") permit (principal, action, resource) when { context.effect == \"read\" };
         @id(\"two\") @ask(\"2 of dba, then 1 of owner; surface=own\")
         permit (principal, action, resource) when { context.effect == \"write\" };
         @id(\"touched\") @ask(\"1 of owner; presence=hardware; surface=terminal\")
         permit (principal, action, resource) when { context.writes.contains(\"payroll\") };
         @id(\"never\")
         forbid (principal, action, resource) when { context.break_glass && context.writes.contains(\"ledger\") };",
    );
    let glass = |sql| {
        let mut case = Case::of(sql);
        case.break_glass = true;
        case
    };
    let demands = |case: &Case| {
        let judgement = case.judged(&rules);
        let [one] = judgement.requirements() else {
            panic!("{judgement:?}");
        };
        assert!(one.own_requests);
        (one.to_string(), one.presence, one.surfaces)
    };
    let anyone = || "1 of anyone".to_owned();
    assert_eq!(
        demands(&glass("update orders set a = 1")),
        (anyone(), Presence::Passphrase, Surfaces::Own)
    );
    assert_eq!(
        demands(&glass("update payroll set a = 1")),
        (anyone(), Presence::Hardware, Surfaces::Terminal)
    );
    assert_eq!(
        demands(&glass("select 1")),
        (anyone(), Presence::Passphrase, Surfaces::Any)
    );
    // The floor in production holds.
    assert_eq!(
        demands(&glass("update orders set a = 1").production()),
        (anyone(), Presence::Hardware, Surfaces::Own)
    );
    let outcome = |sql| glass(sql).outcome(&rules);
    assert_eq!(outcome("update ledger set a = 1"), "deny (Rule) by never");
    assert_eq!(outcome("drop table orders"), "deny (NoRule) by ");
    let admin = glass("attach 'x.db' as x").outcome(&rules);
    assert!(admin.starts_with("deny (Admin)"), "{admin}");
    // Without it, everybody is asked.
    let usual = Case::of("update ledger set a = 1").outcome(&rules);
    assert_eq!(usual, "ask 2 of dba, then 1 of owner by two");
}

#[test]
fn every_fact_can_be_spoken_of() {
    let speaks = |condition: &str, case: &Case| {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        let held = !matches!(case.judged(&policy(&text)).outcome, Outcome::Deny(_));
        let text = format!("permit (principal, action, resource) unless {{ {condition} }};");
        let unheld = !matches!(case.judged(&policy(&text)).outcome, Outcome::Deny(_));
        assert_ne!(held, unheld, "{condition}");
        held
    };
    let mut case = Case::of("update Orders set total = abs(1) where id = 1");
    case.standing.roles.insert("developer".into());
    case.standing.groups.insert("shop".into());
    case.target.labels.insert("team".into(), "shop".into());
    case.target.environment = "Prod".into();
    case.findings = vec![Finding {
        rule: ReviewRule::NoWhere,
        level: Level::Warn,
    }];
    case.rows = Some(7);
    case.break_glass = true;
    for condition in [
        r#"principal == Ai::"ada/claude""#,
        r#"principal is Ai && principal.kind == "ai" && principal.name like "ada/*""#,
        r#"principal.roles.contains("developer") && principal.groups.contains("shop")"#,
        r#"resource == Target::"shop" && resource.name == "shop" && resource.engine == "sqlite""#,
        r#"resource.production && resource.environment == "Prod""#,
        r#"resource.labels.contains("team=shop") && resource.allow == ["read"]"#,
        r#"context.effect == "write" && context.level == 1 && context.kind == "update""#,
        r#"context.writes == ["orders"] && context.touches.contains("orders")"#,
        r#"context.capability == "" && context.findings.contains("no_where")"#,
        "context.hour == 22 && context.weekday == 7",
        "context.rows_known && context.rows == 7",
        "context.break_glass",
    ] {
        assert!(speaks(condition, &case), "{condition}");
    }
    for condition in [
        "principal is Human",
        r#"context.reads.contains("orders")"#,
        "context.level > 1",
    ] {
        assert!(!speaks(condition, &case), "{condition}");
    }
}

#[test]
fn a_name_with_its_schema_is_found_without_it_and_in_any_case() {
    let rules = policy(
        r#"
        permit (principal, action, resource);
        forbid (principal, action, resource) when { context.touches.contains("pay") };
    "#,
    );
    for sql in [
        "select * from pay",
        "select * from hr.Pay",
        "delete from \"PAY\"",
    ] {
        assert_eq!(
            Case::of(sql).outcome(&rules),
            "deny (Rule) by line 3",
            "{sql}"
        );
    }
    assert_eq!(
        Case::of("select * from payments").outcome(&rules),
        "allow by line 2"
    );
}

#[test]
fn every_mistake_is_found_at_once() {
    let text = r#"
@id("a") @color("red")
permit (principal, action, resource) when { context.effect == "wriet" };

@id("a") @ask("1 of dbas; quick")
permit (principal, action == Action::"walk", resource);

@ask("1 of dba")
forbid (principal, action, resource) when { context.rowz > 5 };

permit (principal == ?principal, action, resource);

@reason("") @limit("rows=0")
permit (principal is Ai, action, resource) when { principal is Human };

permit (principal, action, resource) when { context.touches.contains("Orders") };
"#;
    assert_snapshot!(problems(text));
}

#[test]
fn a_text_that_is_no_policy_says_where() {
    assert_snapshot!(problems(
        "permit (principal, action, resource)\nwhen { context.rows > };\n"
    ));
    assert_eq!(
        problems("// nothing\n"),
        "policy.cedar:1:1: this policy has no rule, so it would deny everything"
    );
}

#[test]
fn the_strictest_of_two_judgements_keeps_what_both_want() {
    let dba = policy(
        r#"@id("x") @ask("1 of dba") @limit("rows=5") permit (principal, action, resource);"#,
    );
    let owner = policy(
        r#"@id("y") @ask("1 of owner") @limit("time=1s") permit (principal, action, resource);"#,
    );
    let all = policy(r#"@id("z") permit (principal, action, resource);"#);
    let none = policy(r#"@id("n") forbid (principal, action, resource);"#);
    let case = Case::of(DELETE);
    let judged = |policy: &PolicySet| case.judged(policy);
    let both = strictest(judged(&dba), judged(&owner));
    assert_eq!(both.requirements().len(), 2);
    assert_eq!((both.limits.rows, both.limits.time_ms), (5, 1_000));
    assert_eq!(both.rules, ["x", "y"]);
    assert_eq!(strictest(judged(&all), judged(&dba)).rules, ["x"]);
    let twice = strictest(judged(&dba), judged(&dba));
    assert_eq!(twice.requirements().len(), 1, "the same votes meet both");
    assert_eq!(
        strictest(judged(&dba), judged(&all)).requirements().len(),
        1
    );
    let denied = strictest(judged(&none), judged(&dba));
    assert_eq!(
        (denied.outcome, denied.rules),
        (Outcome::Deny(Denial::Rule), vec!["n".to_owned()])
    );
    assert_eq!(
        strictest(judged(&dba), judged(&none)).outcome,
        Outcome::Deny(Denial::Rule)
    );
    assert_eq!(
        strictest(judged(&all), judged(&all)).outcome,
        Outcome::Allow
    );
    assert_ne!(
        strictest(judged(&all), judged(&dba)).digest,
        strictest(judged(&dba), judged(&all)).digest
    );
}

/// Tests that a rule can be made of; the last one fails with an error where rows were measured.
const TESTS: [&str; 21] = [
    r#"context.effect == "read""#,
    r#""write" == context.effect"#,
    r#"context.effect != "read""#,
    r#"["write", "schema"].contains(context.effect)"#,
    "context.level <= 1",
    "context.level < 1",
    "context.level > 0",
    "context.level >= 1",
    r#"context.touches.contains("orders")"#,
    r#"context.touches.containsAny(["items", "orders"])"#,
    r#"["orders"].containsAll(context.touches)"#,
    "resource.production",
    "!resource.production",
    "resource.production == false",
    "principal is Ai",
    r#"principal == Ai::"ada/claude""#,
    r#"principal.groups.contains("dba")"#,
    "!(context.has_where && context.level == 1)",
    r#"(context.effect == "read" || resource.production)"#,
    r#"context.findings == ["no_where"]"#,
    "context.rows + 9223372036854775807 > 0",
];

const SCOPES: [&str; 5] = [
    "principal, action, resource",
    "principal is Ai, action, resource",
    "principal is Human, action, resource",
    r#"principal == Ai::"ada/claude", action, resource == Target::"shop""#,
    r#"principal, action == Action::"run", resource == Target::"other""#,
];

mod guards {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_rule()(permit in any::<bool>(), scope in 0..SCOPES.len(), first in any::<bool>(), clauses in prop::collection::vec(prop::collection::vec(0..TESTS.len(), 1..4), 0..3)) -> String {
            let clauses: Vec<_> = clauses.iter().enumerate().map(|(at, tests)| {
                let tests: Vec<_> = tests.iter().map(|at| TESTS[*at]).collect();
                let word = if (at == 0) == first { "when" } else { "unless" };
                format!(" {word} {{ {} }}", tests.join(" && "))
            }).collect();
            let word = if permit { "permit" } else { "forbid" };
            format!("{word} ({}){};", SCOPES[scope], clauses.concat())
        }
    }

    prop_compose! {
        fn any_case()(sql in 0..4_usize, human in any::<bool>(), dba in any::<bool>(), production in any::<bool>(), rows in prop::option::of(0..2_u64), found in any::<bool>()) -> Case {
            let sql = ["select 1", "select * from orders", DELETE, "drop table orders"][sql];
            let mut case = if production { Case::of(sql).production() } else { Case::of(sql) };
            if human {
                case.principal = Principal::new(PrincipalKind::Human, "ada");
            }
            if dba {
                case.standing.groups.insert("dba".into());
            }
            if found {
                case.findings.push(Finding { rule: ReviewRule::NoWhere, level: Level::Warn });
            }
            case.rows = rows;
            case
        }
    }

    /// The policy without its guards: Cedar judges every rule.
    fn unguarded(text: &str) -> Result<PolicySet, Problems> {
        let mut policy = PolicySet::load(text, "policy.cedar", None)?;
        for rule in policy.rules.values_mut() {
            rule.guards.clear();
        }
        Ok(policy)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn guards_never_change_a_judgement(rules in prop::collection::vec(any_rule(), 1..5), cases in prop::collection::vec(any_case(), 1..5)) {
            let text = rules.join("\n");
            // A rule that can never hold is no policy at all.
            if let (Ok(guarded), Ok(plain)) = (PolicySet::load(&text, "policy.cedar", None), unguarded(&text)) {
                for case in &cases {
                    prop_assert_eq!(case.judged(&guarded), case.judged(&plain), "{}", text);
                }
            }
        }
    }

    #[test]
    fn the_rules_that_people_write_are_guarded() {
        for (text, guards) in [
            (
                r#"permit (principal is Ai, action, resource == Target::"shop") when { context.effect == "write" };"#,
                3,
            ),
            (
                r#"forbid (principal, action, resource) when { context.touches.contains("pay") };"#,
                1,
            ),
            (
                "forbid (principal, action, resource) unless { resource.production };",
                0,
            ),
            (
                "permit (principal, action, resource) when { context.rows + 1 > 5 && resource.production };",
                0,
            ),
            (
                "permit (principal, action, resource) when { resource.production && (context.rows + 1 > 5 && context.level == 1) };",
                1,
            ),
        ] {
            let policy = policy(text);
            let found: usize = policy.rules.values().map(|rule| rule.guards.len()).sum();
            assert_eq!(found, guards, "{text}");
        }
    }
}

#[test]
fn what_is_remembered_is_the_judgement_of_the_same_facts_and_no_others() {
    let rules = "permit (principal, action, resource) when { context.hour == 22 };
        permit (principal, action, resource) when { context.rows_known && context.rows < 5 };
        permit (principal, action, resource) when { context.touches.contains(\"orders\") && context.has_where };
        permit (principal is Human, action, resource);
        permit (principal, action, resource) when { resource.labels.contains(\"tier=toy\") };
        permit (principal, action, resource) when { resource.environment == \"sandbox\" };
        permit (principal, action, resource) when { resource.allow.contains(\"write\") };
        permit (principal, action, resource) when { principal.groups.contains(\"dba\") };";
    let policy = PolicySet::load(rules, "memory.cedar", None).unwrap();
    let at_noon = |sql: &'static str| {
        let mut case = Case::of(sql);
        case.at = Timestamp::from_unix_ms(1_700_000_000_000 - 2 * 86_400_000 - 10 * 3_600_000);
        case
    };
    let base = || at_noon("update users set name = 'x'");
    let mut cases = vec![base(), Case::of("update users set name = 'x'")];
    cases.push(at_noon("update orders set status = 'x'"));
    cases.push(at_noon("update orders set status = 'x' where id = 1"));
    let changed = |change: &dyn Fn(&mut Case)| {
        let mut case = base();
        change(&mut case);
        case
    };
    cases.push(changed(&|case| case.rows = Some(4)));
    cases.push(changed(&|case| case.rows = Some(6)));
    cases.push(changed(&|case| {
        case.principal = Principal::new(PrincipalKind::Human, "ada");
    }));
    cases.push(changed(&|case| {
        case.target.labels.insert("tier".into(), "toy".into());
    }));
    cases.push(changed(&|case| case.target.environment = "sandbox".into()));
    cases.push(changed(&|case| case.target.allow = [Effect::Write].into()));
    cases.push(changed(&|case| {
        case.standing.groups.insert("dba".into());
    }));
    // Twice, so that the second round is answered from memory.
    for _ in 0..2 {
        for case in &cases {
            let fresh = PolicySet::load(rules, "memory.cedar", None).unwrap();
            assert_eq!(case.judged(&policy), case.judged(&fresh), "{case:?}");
        }
    }
    let outcomes: Vec<bool> = cases
        .iter()
        .map(|case| case.judged(&policy).outcome == Outcome::Allow)
        .collect();
    let expected = [
        false, true, false, true, true, false, true, true, true, true, true,
    ];
    assert_eq!(outcomes, expected);
}
