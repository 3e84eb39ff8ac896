//! The client's end of an agent's socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::core::limits::Limits;
use crate::core::refusal::{Code, Refusal};
use crate::socket::{door, lines};
use crate::wire::Answer;
use crate::wire::hello::{Hello, LONGEST, Wants, Welcome};
use crate::wire::people::{Call, LONGEST_ANSWER, LONGEST_WAIT_MS, Reply};

/// How long an agent may take to answer a hello.
const HELLO: Duration = Duration::from_secs(10);
/// How long an agent may take to answer a call, beyond what the call itself waits for.
const CALL: Duration = Duration::from_millis(LONGEST_WAIT_MS + 40_000);

/// How long it may take to run a statement and to answer.
const RUN: Duration = Duration::from_millis(Limits::MAX.time_ms as u64 + 60_000);

/// A connection to an agent, after the hello.
#[derive(Debug)]
pub struct Link {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    path: PathBuf,
    /// What the agent said of itself and of us.
    pub welcome: Welcome,
}

impl Link {
    /// Connects and says hello. Refused where nobody listens, where the agent does not want us, and where
    /// somebody else than the agent's own user can have put the socket there.
    pub async fn open(path: &Path, wants: Wants) -> Result<Self, Refusal> {
        let stream = UnixStream::connect(path).await;
        let stream = stream.map_err(|error| unreachable(path, &error))?;
        let owner = stream
            .peer_cred()
            .map_err(|error| unreachable(path, &error))?;
        let absolute = std::path::absolute(path).map_err(|error| unreachable(path, &error))?;
        door::check_folder(absolute.parent().unwrap_or(Path::new("/")), owner.uid())?;
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let greeting = async {
            // An agent that is full says so without listening.
            drop(lines::write(&mut writer, &Hello::new(wants)).await);
            lines::read(&mut reader, LONGEST).await
        };
        let answer = timeout(HELLO, greeting).await;
        let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let line = answer.map_err(|error| unreachable(path, &error))?;
        let line = line.ok_or_else(|| ended(path))?;
        let answer: Answer<Welcome> = serde_json::from_slice(&line).map_err(|_| strange(path))?;
        Ok(Self {
            reader,
            writer,
            path: path.to_owned(),
            welcome: Result::from(answer)?,
        })
    }

    /// Asks, and waits for the answer. After an error of the connection every further call fails.
    pub async fn ask(&mut self, call: &Call) -> Result<Reply, Refusal> {
        let runs = matches!(call, Call::Run { .. });
        let patience = if runs { RUN } else { CALL };
        let asking = async {
            lines::write(&mut self.writer, call).await?;
            lines::read(&mut self.reader, LONGEST_ANSWER).await
        };
        let answer = timeout(patience, asking).await;
        let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let line = answer.map_err(|error| unreachable(&self.path, &error))?;
        let line = line.ok_or_else(|| ended(&self.path))?;
        let answer: Answer<Reply> =
            serde_json::from_slice(&line).map_err(|_| strange(&self.path))?;
        answer.into()
    }

    /// Where the agent listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The connection itself, for whatever comes after the hello.
    pub fn into_parts(self) -> (BufReader<OwnedReadHalf>, OwnedWriteHalf) {
        (self.reader, self.writer)
    }
}

fn unavailable(sentence: String, hint: &str) -> Refusal {
    Refusal::new(Code::AgentUnavailable, sentence).hint(hint)
}

fn unreachable(path: &Path, error: &io::Error) -> Refusal {
    let shown = path.display();
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        unavailable(
            format!("no agent listens at `{shown}`: there is no such socket"),
            "start it with `systemctl start secondkey`, or `secondkey agent --socket PATH` as its own user",
        )
    } else if kind == io::ErrorKind::ConnectionRefused {
        unavailable(
            format!("no agent listens at `{shown}` any more"),
            "start it again with `systemctl restart secondkey`, or `secondkey agent --socket PATH` as its own user",
        )
    } else if kind == io::ErrorKind::PermissionDenied {
        unavailable(
            format!("you may not use the socket `{shown}`"),
            "have its administrator put you into its group, then log in again",
        )
    } else {
        unavailable(
            format!("the agent at `{shown}` does not answer: {error}"),
            "see the agent's log, and try again",
        )
    }
}

/// The agent has closed the connection.
pub fn ended(path: &Path) -> Refusal {
    unavailable(
        format!(
            "the agent at `{}` has closed the connection",
            path.display()
        ),
        "it was ended or started anew; start this again",
    )
}

fn strange(path: &Path) -> Refusal {
    unavailable(
        format!(
            "what listens at `{}` does not answer as an agent of this version does",
            path.display()
        ),
        "install the same version of secondkey on both sides",
    )
}
