//! The broker's decision about one question: a policy judged, the votes counted, and either a
//! grant or the words for the caller.

use crate::core::approval::Purpose;
use crate::core::ids::{AgentId, RequestId};
use crate::core::limits::Limits;
use crate::core::policy::facts::{Facts, Standing};
use crate::core::policy::judgement::{Denial, Judgement, Settlement};
use crate::core::policy::requirement::Progress;
use crate::core::policy::set::PolicySet;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::review::{Level, Settings};
use crate::core::signer::Vote;
use crate::core::statement::{Effect, Name, Statement};
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::core::work::Digest;

/// Everything a decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The request this is about.
    pub request: &'a RequestId,
    /// Who asks.
    pub principal: &'a Principal,
    /// What is known of them.
    pub standing: &'a Standing,
    /// Where it would run.
    pub target: &'a Target,
    /// Which executor would run it.
    pub agent: &'a AgentId,
    /// The digest of the work that would run.
    pub work: Digest,
    /// The capability and the digest of its bundle, where it is not free SQL.
    pub capability: Option<(&'a str, Digest)>,
    /// What the statement can do.
    pub statement: &'a Statement,
    /// The executor's own judgement, where it has looked already and found worse.
    pub found: Option<&'a Statement>,
    /// The limits that the caller asked for.
    pub limits: Limits,
    /// The policy.
    pub policy: &'a PolicySet,
    /// What becomes of what the review rules find.
    pub review: &'a Settings,
    /// What people have approved, where they had to.
    pub approved: Option<&'a Approved>,
    /// Whether it waits for everybody whom the policy asks, or goes ahead of its review.
    pub purpose: Purpose,
    /// When.
    pub at: Timestamp,
}

/// What people have approved: the token will name it.
#[derive(Clone, Debug)]
pub struct Approved {
    /// The document.
    pub document: Digest,
    /// The signed verdicts on it.
    pub verdicts: Vec<Digest>,
    /// What of them counts.
    pub votes: Vec<Vote>,
}

/// The outcome of a question.
#[derive(Debug)]
#[must_use = "a decision that nobody reads protects nothing"]
pub enum Decision {
    /// It may run.
    Allow(Grant),
    /// It may run once humans have agreed.
    NeedsApproval(Box<Needed>),
    /// It may not run.
    Deny(Refusal),
}

/// What it takes before the work may run.
#[derive(Debug)]
pub struct Needed {
    /// How far each requirement has come.
    pub progress: Vec<Progress>,
    /// The words for a caller who does not wait.
    pub refusal: Refusal,
}

/// Permission to run one work once, on one target, by one agent. Only [`decide`] makes one.
#[derive(Debug)]
pub struct Grant {
    pub(in crate::core) request: RequestId,
    pub(in crate::core) principal: Principal,
    pub(in crate::core) target: String,
    pub(in crate::core) agent: AgentId,
    pub(in crate::core) purpose: Purpose,
    pub(in crate::core) work: Digest,
    pub(in crate::core) effect: Effect,
    pub(in crate::core) reads: Vec<String>,
    pub(in crate::core) writes: Vec<String>,
    pub(in crate::core) limits: Limits,
    pub(in crate::core) document: Option<Digest>,
    pub(in crate::core) approvals: Vec<Digest>,
}

impl Question<'_> {
    /// The effect that counts: the worse of what the text says and what the executor found.
    fn effect(&self) -> Effect {
        let found = self.found.map_or(Effect::Read, |found| found.effect);
        found.max(self.statement.effect)
    }

    fn votes(&self) -> &[Vote] {
        self.approved
            .map(|approved| approved.votes.as_slice())
            .unwrap_or_default()
    }

    /// What the policy says, votes left out.
    pub fn judge(&self) -> Judgement {
        let statement = self.found.unwrap_or(self.statement);
        let environment = &self.target.environment;
        let findings = self
            .review
            .apply(environment, statement.findings.iter().copied());
        self.policy.judge(&Facts {
            principal: self.principal,
            standing: self.standing,
            target: self.target,
            effect: self.effect(),
            statement,
            capability: self.capability,
            findings: &findings,
            rows: None,
            break_glass: self.purpose == Purpose::BreakGlass,
            at: self.at,
        })
    }
}

/// Decides: what the policy allows, or asks for and has been given, runs. Returns what the policy
/// says, and what follows from it.
pub fn decide(question: &Question<'_>) -> (Judgement, Decision) {
    let judgement = question.judge();
    let decision = match judgement.settle(question.votes(), question.principal) {
        Settlement::Settled => Decision::Allow(grant(question, judgement.limits)),
        Settlement::Denied(denial) => {
            Decision::Deny(denied(&judgement, denial, question.target, &what(question)))
        }
        Settlement::Waiting(progress) => Decision::NeedsApproval(Box::new(Needed {
            refusal: needs_approval(
                &judgement,
                question.target,
                question.effect(),
                &what(question),
            ),
            progress,
        })),
    };
    (judgement, decision)
}

/// Such as "it deletes from orders (effect `write`)".
fn what(question: &Question<'_>) -> String {
    let judged = question.found.unwrap_or(question.statement);
    describe(judged, question.effect())
}

/// What a statement does, in words: "it deletes from orders (effect `write`)".
pub fn describe(statement: &Statement, effect: Effect) -> String {
    match statement.because() {
        because if because.is_empty() => format!("its effect is `{effect}`"),
        because => format!("it {because} (effect `{effect}`)"),
    }
}

/// The refusal of work that waits for people. `what` is [`describe`]'s.
pub fn needs_approval(
    judgement: &Judgement,
    target: &Target,
    effect: Effect,
    what: &str,
) -> Refusal {
    let mut message = format!(
        "this statement needs a human's approval on `{}`: {what}",
        target.name
    );
    for reason in &judgement.reasons {
        message.push_str("; ");
        message.push_str(reason);
    }
    let mut hint = String::new();
    for finding in &judgement.findings {
        hint.push_str(&finding.to_string());
        hint.push_str("; ");
    }
    if target.allow.contains(&effect) {
        hint.push_str("the policy wants this whatever the target's configuration allows");
    } else {
        hint.push_str(&what_runs(target));
        hint.push_str(" without approval; a person can allow `");
        hint.push_str(effect.as_str());
        hint.push_str("` in the target's configuration");
    }
    Refusal::new(Code::ApprovalRequired, message).hint(hint)
}

/// The refusal of work that nobody can approve. `what` is [`describe`]'s.
pub fn denied(judgement: &Judgement, denial: Denial, target: &Target, what: &str) -> Refusal {
    let name = &target.name;
    let because = match judgement.reasons.as_slice() {
        [] => what.to_owned(),
        reasons => reasons.join("; "),
    };
    match denial {
        Denial::Admin => {
            let message = format!("this statement is refused on `{name}`: {what}");
            Refusal::new(Code::Forbidden, message)
                .hint("work of this kind is for the people who run the database; ask them")
        }
        Denial::Rule => {
            let message = format!("the policy forbids this statement on `{name}`: {because}");
            Refusal::new(Code::Forbidden, message).hint(format!(
                "no approval changes that; {} said so",
                rules(&judgement.rules)
            ))
        }
        Denial::Error => {
            let message = format!("the policy for `{name}` cannot be evaluated, so nothing runs");
            Refusal::new(Code::PolicyUnavailable, message)
                .hint("tell the person who runs secondkey to see `secondkey policy check`")
        }
        Denial::Review => {
            let blocking = judgement
                .findings
                .iter()
                .filter(|f| f.level == Level::Block);
            let (messages, hints): (Vec<_>, Vec<_>) =
                blocking.map(|f| (f.rule.message(), f.rule.hint())).unzip();
            let said = messages.join(" and ");
            let message = format!("the review rules of `{name}` refuse this statement: it {said}");
            Refusal::new(Code::ReviewBlocked, message).hint(hints.join("; "))
        }
        Denial::NoRule => {
            let message =
                format!("no rule of the policy allows this statement on `{name}`: {what}");
            Refusal::new(Code::Forbidden, message)
                .hint("ask the person who runs secondkey whether the policy should mention it")
        }
    }
}

/// Such as "the rule `no-drop`".
fn rules(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [one] => format!("the rule {one}"),
        several => format!("the rules {}", several.join(" and ")),
    }
}

/// Such as "only `read` runs here".
fn what_runs(target: &Target) -> String {
    let allowed: Vec<String> = target
        .allow
        .iter()
        .map(|effect| format!("`{effect}`"))
        .collect();
    match allowed.as_slice() {
        [] => "nothing runs here".to_owned(),
        [one] => format!("only {one} runs here"),
        several => format!("only {} run here", several.join(" and ")),
    }
}

fn grant(question: &Question<'_>, limits: Limits) -> Grant {
    let names = |set: &std::collections::BTreeSet<Name>| set.iter().map(Name::to_string).collect();
    Grant {
        request: question.request.clone(),
        principal: question.principal.clone(),
        target: question.target.name.as_str().to_owned(),
        agent: question.agent.clone(),
        purpose: question.purpose,
        work: question.work,
        effect: question.effect(),
        reads: names(&question.statement.reads),
        writes: names(&question.statement.writes),
        limits: question
            .limits
            .intersect(question.target.limits)
            .intersect(limits),
        document: question.approved.map(|approved| approved.document),
        approvals: question
            .approved
            .map(|approved| approved.verdicts.clone())
            .unwrap_or_default(),
    }
}
