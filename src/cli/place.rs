//! Where a command works: an existing state folder, the person in front of it, their terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;

use rustix::termios::{QueueSelector, tcflush};

use crate::cli::{Databases, Failure, Shared};
use crate::clock::SystemClock;
use crate::config::{Flags, Home, Surroundings};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::{Code, Refusal};
use crate::store::State;
use crate::telemetry;

/// The state folder that a command is about, opened, and what is around it.
#[derive(Debug)]
pub(super) struct Place {
    /// The state folder.
    pub(super) state: State,
    /// The environment and folders of the process.
    pub(super) around: Surroundings,
}

impl Place {
    /// Opens the state folder that the flags name, which has to be there.
    pub(super) fn open(shared: Shared) -> Result<Self, Failure> {
        Self::find(shared, false)
    }

    /// Opens the state folder that the flags name, and makes it if there is none.
    pub(super) fn open_or_make(shared: Shared) -> Result<Self, Failure> {
        Self::find(shared, true)
    }

    /// Opens the state folder that these flags name, which has to be there.
    pub(super) fn open_with(flags: &Flags) -> Result<Self, Failure> {
        Self::find_with(flags, false)
    }

    fn find(shared: Shared, make: bool) -> Result<Self, Failure> {
        Self::find_with(&shared.into_flags(Databases::default()), make)
    }

    fn find_with(flags: &Flags, make: bool) -> Result<Self, Failure> {
        let around = Surroundings::of_process();
        let home = Home::find(flags, &around)?;
        telemetry::start(&home.log);
        if !make && !State::exists(&home.state_dir) {
            return Err(Failure::Refused(
                Refusal::new(
                    Code::InvalidArgument,
                    format!("there is no state in `{}`", home.state_dir.display()),
                )
                .hint("name the state folder with --state; a server makes it on its first run, and so does `secondkey trust init`"),
            ));
        }
        let state = State::open(&home.state_dir, Arc::new(SystemClock)).map_err(Refusal::from)?;
        Ok(Self { state, around })
    }

    /// Writes what waits to be written. A command ends with this, however it went.
    pub(super) async fn close<T>(&self, done: Result<T, Failure>) -> Result<T, Failure> {
        self.state.close().await.map_err(Refusal::from)?;
        done
    }
}

/// The person in front of this program, as the system knows them.
pub(super) fn person(around: &Surroundings) -> Principal {
    Principal::new(PrincipalKind::Human, &around.os_user())
}

/// Whether there is somebody to ask.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks on standard error, and takes exactly this word for a yes.
pub(super) fn agrees(question: &str, word: &str) -> io::Result<bool> {
    // What was typed before the question is no answer to it. Where it cannot be dropped there is no
    // terminal, which `can_ask` has said before.
    let _kept = tcflush(io::stdin(), QueueSelector::IFlush);
    write!(io::stderr(), "{question} ")?;
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == word)
}
