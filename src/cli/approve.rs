//! `secondkey approve`: the short way to `secondkey requests approve`.

use clap::Args;

use crate::cli::desk::{Desk, WhereArgs};
use crate::cli::requests::{VoteArgs, vote};
use crate::cli::{Exit, Failure, Shared};
use crate::core::approval::Decision;
use crate::core::ids::RequestId;

const EXAMPLES: &str = "\
Examples:
  secondkey approve
  secondkey approve req_0192f0c1d2e37a4b8c9d0e1f2a3b4c5d --comment 'checked with Bo'

Ends with 0 when the request may run now, and with 3 when it waits for further people.";

/// Look at a request that waits for people, and sign that it may run
///
/// Shows all that your signature covers, and signs with your SSH key through `ssh-keygen`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct ApproveArgs {
    /// The request [default: the only one that waits]
    request: Option<RequestId>,
    #[command(flatten)]
    vote: VoteArgs,
    #[command(flatten)]
    place: WhereArgs,
}

pub(super) async fn run(args: ApproveArgs, shared: Shared) -> Result<Exit, Failure> {
    let desk = Desk::open_anywhere(&args.place, shared).await?;
    let done = vote::cast(&desk, args.request, &args.vote, Decision::Approve).await;
    desk.close(done).await
}
