//! `secondkey capability`: what can be called by name, checked on the real database, shown and called.

mod accept;
mod check;
mod show;
mod test;

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::boot::{self, Local};
use crate::broker::submit::{Answer, Ask, Submitted, Wanted, submit};
use crate::broker::{Caller, Link, approvals};
use crate::capabilities::{Capabilities, unknown};
use crate::cli::place::{Place, person};
use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::clock::SystemClock;
use crate::config::{self, Surroundings};
use crate::core::refusal::{Code, Refusal};
use crate::core::time::Clock;
use crate::telemetry;

/// Check, show and call what can be called by name
#[derive(Args, Debug)]
pub(super) struct CapabilityArgs {
    #[command(subcommand)]
    command: Command,
}

const CALL_EXAMPLES: &str = "\
Examples:
  secondkey capability call get_customer --params '{\"id\": 7}'
  secondkey capability call hold_order --target shop --params '{\"order_id\": 3}' --reason 'asked for by phone'";

/// One thing to do with capabilities.
#[derive(Debug, Subcommand)]
enum Command {
    /// Check each on the real database, without running anything of it
    ///
    /// Prepares each statement, holds the columns of its answer against those declared, and has the database
    /// explain its examples to find what reads a whole table. Ends with 1 where a capability cannot keep its
    /// contract.
    Check(Which),
    /// Make the calls of the examples, and hold the answers against the contract
    ///
    /// The calls are yours and recorded. Those of a capability that changes something run on the real database in
    /// a transaction that is always rolled back, so nobody has to approve them; what counts up all the same, such
    /// as a sequence, has counted. A change that could not be rolled back is not run.
    Test(Which),
    /// List them, with what each target offers and what is withdrawn
    List(Which),
    /// Show one with its statement, digests and schemas, as its agent knows it
    Show(One),
    /// Look at one that is not what it was, and sign that it may be called as it is now
    ///
    /// Where a target says `changed_capabilities = \"ask\"`, one that has changed, and one that is new, is withdrawn
    /// until then. An agent notices within seconds. Whoever signs has to be somebody who may approve.
    Accept(accept::AcceptArgs),
    /// Call one, as yourself
    #[command(after_help = CALL_EXAMPLES)]
    Call(CallArgs),
}

#[derive(Args, Debug)]
struct Which {
    /// Of this target only
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    #[command(flatten)]
    databases: Databases,
}

#[derive(Args, Debug)]
struct One {
    /// Its name
    name: String,
    #[command(flatten)]
    which: Which,
}

#[derive(Args, Debug)]
struct CallArgs {
    #[command(flatten)]
    one: One,
    /// The values of its parameters, as a JSON object
    #[arg(long, value_name = "JSON", value_parser = object)]
    params: Option<Params>,
    /// Why, for people and the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Clone, Debug)]
struct Params(Map<String, Value>);

fn object(text: &str) -> Result<Params, String> {
    serde_json::from_str(text)
        .map(Params)
        .map_err(|_| "expected a JSON object, such as `{\"id\": 7}`".to_owned())
}

/// What the commands work on.
struct Bench<'a> {
    local: &'a Local,
    agent: &'a Arc<Agent>,
    caller: Caller,
    target: Option<&'a str>,
}

pub(super) async fn run(args: CapabilityArgs, shared: Shared) -> Result<Exit, Failure> {
    let mut command = args.command;
    let which = match &mut command {
        Command::Accept(args) => return accept::run(args, shared).await,
        Command::Check(which) | Command::Test(which) | Command::List(which) => which,
        Command::Show(one) => &mut one.which,
        Command::Call(call) => &mut call.one.which,
    };
    let (target, databases) = (which.target.take(), std::mem::take(&mut which.databases));
    let around = Surroundings::of_process();
    let config = config::load(&shared.into_flags(databases), &around)?;
    telemetry::start(&config.home.log);
    for warning in &config.warnings {
        output::complain(&format!("warning: {warning}"));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let local = boot::local(config, &clock)?;
    let place = Place {
        state: local.state.clone(),
        around,
    };
    let done = match &local.broker.link {
        Link::Here { agent, .. } => {
            let bench = Bench {
                local: &local,
                agent,
                caller: Caller::of(person(&place.around)),
                target: target.as_deref(),
            };
            Box::pin(bench.run(&command)).await
        }
        Link::Dialed(_) => Err(nothing().into()),
    };
    // Work above `read` goes on without its caller, and is recorded before this process ends.
    local.broker.link.finish().await;
    place.close(done).await
}

impl Bench<'_> {
    async fn run(&self, command: &Command) -> Result<Exit, Failure> {
        let targets = self.targets();
        if targets.is_empty() {
            return Err(nothing().into());
        }
        match command {
            // It needs no database, and was done before.
            Command::Accept(_) => Ok(Exit::Misused),
            Command::Check(_) => check::check(self, &targets).await,
            Command::Test(_) => test::test(self, &targets).await,
            Command::List(_) => {
                for (name, _) in &targets {
                    self.agent.remember_capabilities(name).await?;
                    self.agent.look_for_drift(name).await;
                }
                show::list(&targets)
            }
            Command::Show(one) => show::show(&targets, &one.name),
            Command::Call(call) => self.call(call).await,
        }
    }

    /// The targets that offer anything, and what.
    fn targets(&self) -> Vec<(String, Arc<Capabilities>)> {
        let all = self.agent.targets().map(|target| target.name.as_str());
        let wanted = all.filter(|name| self.target.is_none_or(|target| target == *name));
        wanted
            .filter_map(|name| {
                let all = self.agent.capabilities(name)?;
                Some((name.to_owned(), Arc::clone(all)))
            })
            .collect()
    }

    /// Makes a call as the person in front of it.
    async fn ask(
        &self,
        what: Wanted,
        target: &str,
        reason: Option<String>,
    ) -> Result<Answer, Refusal> {
        let ask = Ask {
            what,
            target: Some(target.to_owned()),
            reason,
            max_rows: None,
            timeout_ms: None,
            key: None,
        };
        let stopped = CancellationToken::new();
        let (broker, caller) = (&self.local.broker, &self.caller);
        match Box::pin(submit(broker, caller, ask, stopped.clone())).await? {
            Submitted::Ran(answer) => Ok(*answer),
            Submitted::Filed(id) => approvals::settle(broker, caller, &id, stopped).await,
        }
    }

    async fn call(&self, args: &CallArgs) -> Result<Exit, Failure> {
        let name = &args.one.name;
        let targets = self.targets();
        let mut offering = targets
            .iter()
            .filter(|(_, all)| all.bundle().get(name).is_some());
        let (target, _) = offering.next().ok_or_else(|| unknown(name))?;
        if offering.next().is_some() {
            let refusal = Refusal::new(Code::UnknownTarget, "several targets offer this");
            return Err(Failure::Misused(refusal.hint("say which with --target")));
        }
        let params = args
            .params
            .clone()
            .map(|params| params.0)
            .unwrap_or_default();
        let what = Wanted::Capability {
            name: name.clone(),
            params,
        };
        let answer = match self.ask(what, target, args.reason.clone()).await {
            Err(refusal) if refusal.code == Code::ApprovalPending => {
                output::complain(&refusal.message);
                return Ok(Exit::Pending);
            }
            answer => answer?,
        };
        let report = answer.report;
        let names: Vec<&String> = report.columns.iter().map(|column| &column.name).collect();
        let object = |row: &Vec<Value>| {
            let cells = names
                .iter()
                .map(|name| (*name).clone())
                .zip(row.iter().cloned());
            Value::Object(cells.collect())
        };
        let rows: Vec<Value> = report.rows.iter().map(object).collect();
        let answer = json!({
            "rows": rows,
            "affected": report.affected,
            "truncated": report.truncated,
            "request": answer.request.as_str(),
        });
        output::say(&serde_json::to_string_pretty(&answer).unwrap_or_default())?;
        Ok(Exit::Done)
    }
}

fn nothing() -> Refusal {
    Refusal::new(
        Code::UnknownCapability,
        "no target here offers anything by name",
    )
    .hint("write `capabilities = \"capability.yaml\"` under its [targets.NAME]")
}
