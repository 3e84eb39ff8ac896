//! Where a person's command works: on the state folder itself, or on that of an agent of another user,
//! over its socket, or at a team's relay. What is shown and signed is the same, and made here, in the person's own program.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::sync::Mutex;

use crate::boot;
use crate::broker::requests::{self, Shown};
use crate::broker::{acceptances, reviews, votes};
use crate::cli::errand::{AwayArgs, Errand};
use crate::cli::place::{Place, person};
use crate::cli::{Failure, Shared};
use crate::clock::SystemClock;
use crate::config::{self, Home, Surroundings};
use crate::core::approval::{Document, SignedAcceptance, SignedReview, SignedVerdict};
use crate::core::capability::Remembered;
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{Request, Settlement};
use crate::core::time::{Clock, Timestamp};
use crate::core::trust::{SignedTrust, TrustFile};
use crate::socket::Link;
use crate::store::requests::{Filter, Summary};
use crate::telemetry;
use crate::wire::hello::Wants;
use crate::wire::people::{Call, LONGEST_LIST, LONGEST_WAIT_MS, Line, Reply, Standing};
use crate::wire::ran::{Explained, Ran};

/// The variable that stands for `--agent`.
const VARIABLE: &str = "SECONDKEY_AGENT";

/// Which agent a command is about.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct AgentArgs {
    /// The socket of an agent that runs as another user of this machine; `SECONDKEY_AGENT` does the same
    #[arg(long, value_name = "unix:PATH", value_parser = address)]
    agent: Option<PathBuf>,
}

/// Where a command about requests works.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct WhereArgs {
    #[command(flatten)]
    agent: AgentArgs,
    #[command(flatten)]
    away: AwayArgs,
}

/// The path in `unix:PATH`.
fn address(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        Some(_) | None => {
            Err("expected `unix:PATH`, such as `unix:/run/secondkey/agent.sock`".to_owned())
        }
    }
}

impl AgentArgs {
    /// The socket, by the flag, else by the variable unless other flags say where to work.
    pub(super) fn socket(
        &self,
        shared: &Shared,
        around: &Surroundings,
        local: bool,
    ) -> Result<Option<PathBuf>, Failure> {
        let local = local
            || shared.state.is_some()
            || shared.workspace.is_some()
            || shared.config.is_some();
        if let Some(path) = &self.agent {
            if !local {
                return Ok(Some(around.folder.join(path)));
            }
            let sentence = "an agent of another user has its own state and configuration";
            return Err(misused(sentence, "leave out the other flags, or `--agent`"));
        }
        let named = around.environment.text(VARIABLE).filter(|_| !local);
        named
            .map(|text| address(&text))
            .transpose()
            .map_err(|expected| {
                misused(
                    &format!("{VARIABLE}: {expected}"),
                    "set it right, or unset it",
                )
            })
            .map(|path| path.map(|path| around.folder.join(path)))
    }

    /// Whether the flag is given.
    pub(super) fn is_given(&self) -> bool {
        self.agent.is_some()
    }
}

fn misused(sentence: &str, hint: &str) -> Failure {
    Failure::Misused(Refusal::new(Code::InvalidArgument, sentence).hint(hint))
}

/// Where a command works.
#[derive(Debug)]
pub(super) struct Desk {
    at: At,
    /// The environment and folders of the process.
    pub(super) around: Surroundings,
}

#[derive(Debug)]
enum At {
    Here(Place),
    There(Far),
}

/// How the other end is reached.
#[derive(Debug)]
enum Far {
    /// Over an agent's socket.
    Socket(Mutex<Link>),
    /// Over the network, at a relay.
    Relay(Errand),
}

impl Far {
    async fn ask(&self, call: &Call) -> Result<Reply, Refusal> {
        match self {
            Self::Socket(link) => link.lock().await.ask(call).await,
            Self::Relay(errand) => errand.ask(call).await,
        }
    }
}

/// One page of a list.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) requests: Vec<Summary>,
    pub(super) damaged: Vec<String>,
    pub(super) next: Option<RequestId>,
}

impl Desk {
    /// The agent's, where one is named; else the state folder that the flags name, which has to be
    /// there.
    pub(super) async fn open(agent: &AgentArgs, shared: Shared) -> Result<Self, Failure> {
        Self::find(agent, shared, Place::open).await
    }

    /// A relay, where one is named; else like [`Self::open`].
    pub(super) async fn open_anywhere(place: &WhereArgs, shared: Shared) -> Result<Self, Failure> {
        let around = Surroundings::of_process();
        let local = place.agent.is_given()
            || shared.state.is_some()
            || shared.workspace.is_some()
            || shared.config.is_some();
        let Some(relay) = place.away.relay(&around, local) else {
            return Self::open(&place.agent, shared).await;
        };
        if local {
            let sentence = "a relay has its own state and configuration";
            let hint = "leave out `--relay`, or `--agent`, `--state`, `--workspace` and `--config`";
            return Err(misused(sentence, hint));
        }
        let home = Home::find(&shared.into_flags(super::Databases::default()), &around)?;
        telemetry::start(&home.log);
        let errand = place.away.errand(&relay, &around)?;
        Ok(Self {
            at: At::There(Far::Relay(errand)),
            around,
        })
    }

    /// The same, and the state folder is made if there is none.
    pub(super) async fn open_or_make(agent: &AgentArgs, shared: Shared) -> Result<Self, Failure> {
        Self::find(agent, shared, Place::open_or_make).await
    }

    /// Whether it works at a relay, which passes on what agents say.
    pub(super) fn is_at_relay(&self) -> bool {
        matches!(self.at, At::There(Far::Relay(_)))
    }

    /// On a state folder that is open already.
    pub(super) fn at(place: Place) -> Self {
        Self {
            at: At::Here(place),
            around: Surroundings::of_process(),
        }
    }

    async fn find(
        agent: &AgentArgs,
        shared: Shared,
        here: impl FnOnce(Shared) -> Result<Place, Failure>,
    ) -> Result<Self, Failure> {
        let around = Surroundings::of_process();
        let at = match agent.socket(&shared, &around, false)? {
            None => At::Here(here(shared)?),
            Some(path) => {
                let home = Home::find(&shared.into_flags(super::Databases::default()), &around)?;
                telemetry::start(&home.log);
                At::There(Far::Socket(Mutex::new(
                    Link::open(&path, Wants::People).await?,
                )))
            }
        };
        Ok(Self { at, around })
    }

    /// The requests that a filter lets through.
    pub(super) async fn list(&self, filter: Filter) -> Result<Listed, Refusal> {
        let link = match &self.at {
            At::Here(place) => {
                let page = requests::list(&place.state, &filter)?;
                return Ok(Listed {
                    requests: page.requests,
                    damaged: page.damaged.iter().map(ToString::to_string).collect(),
                    next: page.next,
                });
            }
            At::There(link) => link,
        };
        let call = Call::List {
            statuses: filter.statuses,
            target: filter.target,
            reviews: filter.open_reviews,
            before: filter.before,
            limit: filter.limit.min(LONGEST_LIST),
        };
        let Reply::Listed(page) = link.ask(&call).await? else {
            return Err(strange());
        };
        Ok(Listed {
            requests: page.requests.into_iter().map(summary).collect(),
            damaged: page.damaged,
            next: page.next,
        })
    }

    /// Everything about one request, checked on this side to be about one thing.
    pub(super) async fn show(&self, id: &RequestId) -> Result<Shown, Refusal> {
        let link = match &self.at {
            At::Here(place) => return requests::show(&place.state, id),
            At::There(link) => link,
        };
        let call = Call::Show {
            request: id.clone(),
        };
        let Reply::Shown { request, values } = link.ask(&call).await? else {
            return Err(strange());
        };
        requests::assemble(Request::from(*request), values.map(Into::into))
    }

    /// The statement of the capability that a request calls, by the agent's own file. Of an agent in this process's
    /// user's own hands that is the configured one.
    pub(super) async fn statement(
        &self,
        (id, document): (&RequestId, &Document),
        shared: Shared,
    ) -> Result<String, Failure> {
        let link = match &self.at {
            At::Here(_) => {
                let flags = shared.into_flags(super::Databases::default());
                let config = config::load(&flags, &self.around)?;
                let clock: Arc<dyn Clock> = Arc::new(SystemClock);
                let local = boot::local(config, &clock)?;
                let statement = local.broker.link.statement_behind(document);
                local.state.close().await.map_err(Refusal::from)?;
                return Ok(statement?);
            }
            At::There(link) => link,
        };
        let request = id.clone();
        let Reply::Statement(statement) = link.ask(&Call::Statement { request }).await? else {
            return Err(strange().into());
        };
        Ok(statement)
    }

    /// The request, once it is what `done` wants or the time is over.
    pub(super) async fn wait(
        &self,
        id: &RequestId,
        patience: Duration,
        done: impl Fn(&Request) -> bool,
    ) -> Result<Request, Refusal> {
        if let At::Here(place) = &self.at {
            return Ok(place.state.requests().wait(id, patience, done).await?);
        }
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let call = Call::Wait {
                request: id.clone(),
                at_most_ms: left.min(LONGEST_WAIT_MS),
            };
            let request = self.request(&call).await?;
            if done(&request) || Instant::now() >= deadline {
                return Ok(request);
            }
        }
    }

    /// Hands a verdict in; gives the request after it.
    pub(super) async fn vote(
        &self,
        id: &RequestId,
        signed: SignedVerdict,
    ) -> Result<Request, Refusal> {
        if let At::Here(place) = &self.at {
            return votes::cast(&place.state, id, signed).await;
        }
        let request = id.clone();
        self.request(&Call::Vote { request, signed }).await
    }

    /// Hands a review in; gives the request after it.
    pub(super) async fn review(
        &self,
        id: &RequestId,
        signed: SignedReview,
    ) -> Result<Request, Refusal> {
        if let At::Here(place) = &self.at {
            return reviews::close(&place.state, id, signed).await;
        }
        let request = id.clone();
        self.request(&Call::Review { request, signed }).await
    }

    /// The capabilities that are not what was accepted.
    pub(super) async fn changes(&self) -> Result<Vec<Remembered>, Refusal> {
        if let At::Here(place) = &self.at {
            return acceptances::changed(&place.state).await;
        }
        let Reply::Changed(changed) = self.there(&Call::Changes {}).await? else {
            return Err(strange());
        };
        Ok(changed)
    }

    /// Hands an acceptance of one of them in; gives what was accepted.
    pub(super) async fn accept(&self, signed: SignedAcceptance) -> Result<Remembered, Refusal> {
        if let At::Here(place) = &self.at {
            return acceptances::accept(&place.state, &signed).await;
        }
        let Reply::Accepted(one) = self.there(&Call::Accept { signed }).await? else {
            return Err(strange());
        };
        Ok(*one)
    }

    /// Takes a request back.
    pub(super) async fn cancel(&self, id: &RequestId) -> Result<Request, Refusal> {
        if let At::Here(place) = &self.at {
            return requests::cancel(&place.state, id, &person(&self.around)).await;
        }
        let request = id.clone();
        self.request(&Call::Cancel { request }).await
    }

    /// Says what became of a request whose end is not known.
    pub(super) async fn settle(
        &self,
        id: &RequestId,
        (found, comment): (Settlement, &str),
    ) -> Result<Request, Refusal> {
        if let At::Here(place) = &self.at {
            let by = person(&self.around);
            return requests::settle(&place.state, id, (found, comment), &by).await;
        }
        let (request, comment) = (id.clone(), comment.to_owned());
        self.request(&Call::Settle {
            request,
            found,
            comment,
        })
        .await
    }

    /// What the policies of an agent of another user say of a request: the workspace's and the agent's.
    pub(super) async fn explain(&self, id: &RequestId) -> Result<[Explained; 2], Refusal> {
        let request = id.clone();
        let Reply::Explained(said) = self.there(&Call::Explain { request }).await? else {
            return Err(strange());
        };
        said.try_into().map_err(|_| strange())
    }

    /// Files a statement that breaks the glass at an agent of another user.
    pub(super) async fn break_glass(&self, call: &Call) -> Result<Request, Refusal> {
        self.request(call).await
    }

    /// Has an agent of another user run what was filed and signed.
    pub(super) async fn run(&self, id: &RequestId) -> Result<Ran, Refusal> {
        let request = id.clone();
        let Reply::Ran(ran) = self.there(&Call::Run { request }).await? else {
            return Err(strange());
        };
        Ok(*ran)
    }

    /// The pinned trust file.
    pub(super) async fn trust(&self) -> Result<Arc<TrustFile>, Refusal> {
        if let At::Here(place) = &self.at {
            return votes::pinned(&place.state);
        }
        let newest = self.trust_versions().await?.pop();
        newest.map(|signed| Arc::new(signed.trust)).ok_or_else(|| {
            Refusal::new(
                Code::TrustRefused,
                "the agent has no trust file yet, so nobody's signature counts",
            )
            .hint("make the first with `secondkey trust init --to FILE`; whoever runs the agent pins it with `secondkey trust install`")
        })
    }

    /// Every pinned version of the trust file, from the first.
    pub(super) async fn trust_versions(&self) -> Result<Vec<SignedTrust>, Refusal> {
        let link = match &self.at {
            At::Here(place) => return Ok(place.state.trust_versions()?),
            At::There(link) => link,
        };
        let Reply::Trust(versions) = link.ask(&Call::Trust {}).await? else {
            return Err(strange());
        };
        Ok(versions)
    }

    /// Pins a version of the trust file.
    pub(super) async fn install_trust(&self, signed: SignedTrust) -> Result<(), Refusal> {
        let link = match &self.at {
            At::Here(place) => return Ok(place.state.install_trust(signed).await?),
            At::There(link) => link,
        };
        let installed = link.ask(&Call::InstallTrust { signed }).await;
        let Reply::Installed {} = installed? else {
            return Err(strange());
        };
        Ok(())
    }

    /// The state folder, where the command works on one.
    pub(super) fn place(&self) -> Result<&Place, Refusal> {
        match &self.at {
            At::Here(place) => Ok(place),
            At::There(_) => Err(Refusal::new(
                Code::InvalidArgument,
                "this is done where the agent is, by whoever runs it",
            )
            .hint("run it as the agent's own user, with its --state")),
        }
    }

    /// The time by this machine's clock.
    pub(super) fn now(&self) -> Timestamp {
        match &self.at {
            At::Here(place) => place.state.now(),
            At::There(_) => SystemClock.now(),
        }
    }

    /// Writes what waits to be written. A command ends with this, however it went.
    pub(super) async fn close<T>(&self, done: Result<T, Failure>) -> Result<T, Failure> {
        match &self.at {
            At::Here(place) => place.close(done).await,
            At::There(_) => done,
        }
    }

    async fn there(&self, call: &Call) -> Result<Reply, Refusal> {
        let At::There(link) = &self.at else {
            return Err(Refusal::new(Code::Internal, "there is no agent to ask"));
        };
        link.ask(call).await
    }

    async fn request(&self, call: &Call) -> Result<Request, Refusal> {
        let Reply::Request(request) = self.there(call).await? else {
            return Err(strange());
        };
        Ok(Request::from(*request))
    }
}

/// What an agent's set-up holds against, as it says itself.
pub(super) async fn standing(link: &mut Link) -> Result<Standing, Refusal> {
    let Reply::Level(standing) = link.ask(&Call::Level {}).await? else {
        return Err(strange());
    };
    Ok(standing)
}

/// A link to the page that an agent serves.
pub(super) async fn page_link(
    link: &mut Link,
    request: Option<RequestId>,
) -> Result<String, Refusal> {
    let Reply::Link(url) = link.ask(&Call::PageLink { request }).await? else {
        return Err(strange());
    };
    Ok(url)
}

/// An answer to something else than was asked.
fn strange() -> Refusal {
    Refusal::new(
        Code::AgentUnavailable,
        "the agent answered something else than was asked",
    )
    .hint("install the same version of secondkey on both sides")
}

fn summary(line: Line) -> Summary {
    Summary {
        id: line.id,
        requester: line.requester,
        target: line.target,
        environment: line.environment,
        engine: line.engine,
        effect: line.effect,
        kind: line.kind,
        statement: line.statement,
        created: line.created,
        updated: line.updated,
        version: line.version,
        state: line.state,
        purpose: line.purpose,
        review: line.review,
    }
}
