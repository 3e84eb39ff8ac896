//! Connections: who comes, what for, and how long they may take to say it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::core::account::Account;
use crate::core::audit::{Draft, EventKind};
use crate::core::refusal::{Code, Refusal};
use crate::mcp;
use crate::socket::crowd::{Crowd, MOST_OF_ONE, Pass};
use crate::socket::door::Door;
use crate::socket::{lines, people};
use crate::store::State;
use crate::system::{Peer, Setup};
use crate::wire::hello::{Hello, LONGEST, Spoken, Wants, Welcome};
use crate::wire::people::{Call, LONGEST_CALL, Reply};
use crate::wire::{Answer, VERSION};

/// How long a connection may take to say what it is for.
const HELLO: Duration = Duration::from_secs(5);
/// How long a connection of people's commands may say nothing: somebody may be reading a long document.
const IDLE: Duration = Duration::from_hours(1);
/// How long an answer may take to be read.
const READ: Duration = Duration::from_secs(30);
/// How long open connections get to end when the agent does.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait after the system gave no connection, when it has no room for one.
const BREATH: Duration = Duration::from_millis(100);

/// What is served, and to whom.
#[derive(Debug)]
pub struct Serving {
    /// The MCP server.
    pub server: mcp::Server,
    /// The deciding part, for what people have run.
    pub broker: Arc<Broker>,
    /// The state folder.
    pub state: State,
    /// The files that all of this stands on.
    pub setup: Setup,
    /// Who may connect; nothing where the socket's permissions alone say so.
    pub clients: Option<Vec<Account>>,
    /// Who sees everybody's requests, besides the signers of the trust file.
    pub approvers: Vec<Account>,
    /// Whom the agent runs as.
    pub user: String,
}

struct Inside {
    serving: Serving,
    crowd: Crowd,
}

/// Serves until `closing` fires; then the socket is gone, and open connections are told to end.
pub async fn serve(door: Door, serving: Serving, closing: CancellationToken) {
    let inside = Arc::new(Inside {
        serving,
        crowd: Crowd::default(),
    });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = closing.cancelled() => break,
            accepted = door.listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Some((peer, pass)) = inside.admit(&stream) {
                        let connection = Arc::clone(&inside).serve(stream, peer, pass, closing.child_token());
                        connections.spawn(connection);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(BREATH).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(door);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, ended).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
}

impl Inside {
    /// A place for a connection. One that finds none is told, without waiting for it to listen.
    fn admit(&self, stream: &UnixStream) -> Option<((u32, u32), Pass)> {
        let peer = stream.peer_cred().ok()?;
        let pass = self.crowd.admit(peer.uid());
        if pass.is_none() {
            let full = Refusal::new(
                Code::AgentUnavailable,
                format!("there are too many connections: a user has at most {MOST_OF_ONE}"),
            );
            let full = full.hint("end clients that are not needed, then try again");
            let state = &self.serving.state;
            if let Some(times) = self.crowd.refused(peer.uid(), state.now()) {
                let draft = Draft::new(state.now(), EventKind::ConnectionRefused);
                let draft = draft.number("uid", u64::from(peer.uid()));
                state
                    .log()
                    .append_soon(draft.refusal(&full).number("times", times));
            }
            if let Ok(line) = lines::line(&Answer::<Welcome>::Refused(full)) {
                // A new socket has room for a line; one that has none is not waited for.
                drop(stream.try_write(&line));
            }
        }
        Some(((peer.uid(), peer.gid()), pass?))
    }

    /// One connection, to its end.
    async fn serve(
        self: Arc<Self>,
        stream: UnixStream,
        (uid, gid): (u32, u32),
        _pass: Pass,
        closing: CancellationToken,
    ) {
        let Ok(peer) = spawn_blocking(move || Peer::look_up(uid, gid)).await else {
            return;
        };
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let wants = match self.greeted(&mut reader, &peer).await {
            Ok(Some(wants)) => wants,
            // Somebody looked whether anybody listens.
            Ok(None) => return,
            Err(refusal) => {
                self.turn_away(&peer, &refusal).await;
                let said = Answer::<Welcome>::Refused(refusal);
                drop(timeout(READ, lines::write(&mut writer, &said)).await);
                return;
            }
        };
        if let Err(refusal) = self.welcome(&mut writer, &peer, wants).await {
            tracing::error!(%refusal, "a connection cannot be served");
            let said = Answer::<Welcome>::Refused(refusal);
            drop(timeout(READ, lines::write(&mut writer, &said)).await);
            return;
        }
        let ended = match wants {
            Wants::Mcp => {
                let server = self.server_for(&peer).await;
                Box::pin(mcp::serve::connection(server, reader, writer, closing)).await
            }
            Wants::People => self.people((reader, writer), &peer, closing).await,
        };
        if let Err(error) = ended {
            tracing::info!(%error, user = %peer.name, "a connection ended");
        }
    }

    /// What a connection is for; nothing if it ends before it says so. Refused when it may not be here,
    /// or does not say hello as it should.
    async fn greeted(
        &self,
        reader: &mut BufReader<OwnedReadHalf>,
        peer: &Peer,
    ) -> Result<Option<Wants>, Refusal> {
        let line = timeout(HELLO, lines::read(reader, LONGEST)).await;
        let malformed = |why: &str| {
            Refusal::new(
                Code::InvalidArgument,
                format!("the hello cannot be read: {why}"),
            )
            .hint("connect with `secondkey mcp --agent unix:PATH`")
        };
        let line = match line {
            Err(_) => return Err(malformed("it did not come in time")),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(malformed("it is too long"));
            }
            Ok(Ok(None) | Err(_)) => return Ok(None),
            Ok(Ok(Some(line))) => line,
        };
        self.check_client(peer).await?;
        let spoken: Spoken =
            serde_json::from_slice(&line).map_err(|_| malformed("it is not the JSON of one"))?;
        if spoken.secondkey != VERSION {
            let sentence = format!(
                "the hello is of version {}, and this agent speaks version {VERSION}",
                spoken.secondkey
            );
            return Err(Refusal::new(Code::AgentUnavailable, sentence)
                .hint("install the same version of secondkey on both sides"));
        }
        let hello: Hello =
            serde_json::from_slice(&line).map_err(|_| malformed("it asks for what is not here"))?;
        Ok(Some(hello.wants))
    }

    async fn check_client(&self, peer: &Peer) -> Result<(), Refusal> {
        let Some(clients) = self.serving.clients.clone() else {
            return Ok(());
        };
        let asked = peer.clone();
        let allowed = spawn_blocking(move || asked.is_one_of(&clients)).await;
        if allowed.unwrap_or(false) {
            return Ok(());
        }
        let sentence = format!("this agent does not serve the user `{}`", peer.name);
        Err(Refusal::new(Code::Forbidden, sentence)
            .hint("have its administrator name you in `agent.clients` of its configuration"))
    }

    /// Records who is there, then says so.
    async fn welcome(
        &self,
        writer: &mut OwnedWriteHalf,
        peer: &Peer,
        wants: Wants,
    ) -> Result<(), Refusal> {
        let opened = self.draft(EventKind::ConnectionOpened, peer);
        let opened = opened.text("for", wants.as_str());
        self.serving.state.log().append(opened).await?;
        let welcome = Answer::Ok(Welcome {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            you: peer.name.clone(),
            agent: self.serving.user.clone(),
        });
        // Who is gone already is found out by whoever serves them.
        drop(timeout(READ, lines::write(writer, &welcome)).await);
        Ok(())
    }

    /// Records that somebody was turned away; once a minute with how often.
    async fn turn_away(&self, peer: &Peer, refusal: &Refusal) {
        let now = self.serving.state.now();
        let Some(times) = self.crowd.refused(peer.uid, now) else {
            return;
        };
        let draft = self.draft(EventKind::ConnectionRefused, peer);
        let draft = draft.refusal(refusal).number("times", times);
        if let Err(error) = self.serving.state.log().append(draft).await {
            tracing::error!(%error, "a refused connection could not be recorded");
        }
    }

    fn draft(&self, kind: EventKind, peer: &Peer) -> Draft {
        Draft::new(self.serving.state.now(), kind)
            .text("user", &peer.name)
            .number("uid", u64::from(peer.uid))
    }

    async fn server_for(&self, peer: &Peer) -> mcp::Server {
        let server = self.serving.server.for_user(&peer.name);
        let (setup, asked) = (self.serving.setup.clone(), peer.clone());
        match spawn_blocking(move || setup.level(Some(&asked)).level).await {
            Ok(level) => server.at_level(level),
            Err(_) => server,
        }
    }

    /// One call after the other.
    async fn people(
        &self,
        (mut reader, mut writer): (BufReader<OwnedReadHalf>, OwnedWriteHalf),
        peer: &Peer,
        closing: CancellationToken,
    ) -> io::Result<()> {
        loop {
            let line = tokio::select! {
                line = timeout(IDLE, lines::read(&mut reader, LONGEST_CALL)) => line,
                () = closing.cancelled() => return Ok(()),
            };
            let Some(line) = line.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? else {
                return Ok(());
            };
            let answer: Answer<Reply> = match serde_json::from_slice::<Call>(&line) {
                Err(_) => {
                    let sentence = "this is no call that the agent knows";
                    Err(Refusal::new(Code::InvalidArgument, sentence)
                        .hint("install the same version of secondkey on both sides"))
                    .into()
                }
                Ok(call) => tokio::select! {
                    answer = Box::pin(people::answer(&self.serving, peer, call)) => answer.into(),
                    () = closing.cancelled() => return Ok(()),
                },
            };
            let written = timeout(READ, lines::write(&mut writer, &answer)).await;
            written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        }
    }
}
