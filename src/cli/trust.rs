//! `secondkey trust`: whose signatures count, and how that list changes.

mod change;
mod install;
mod print;
mod start;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::desk::{AgentArgs, Desk};
use crate::cli::{Exit, Failure, Shared, files, output};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::{Code, Refusal};
use crate::core::trust::{Purpose, SignedTrust, allowed_signers};

const EXAMPLES: &str = "\
Examples:
  secondkey trust init --new
  secondkey trust init --key ~/.ssh/id_ed25519_sk
  secondkey trust add bo.proposal.json --groups dba";

/// Decide whose signatures count: the first key, proposals, and each next version
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct TrustArgs {
    #[command(flatten)]
    agent: AgentArgs,
    #[command(subcommand)]
    command: Command,
}

/// One thing to do with the trust file.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make and pin the first version, with one signer: you
    ///
    /// The key is an SSH key of yours: one with a passphrase, or one of hardware (`ssh-keygen -t
    /// ed25519-sk`), whose signature alone counts for production.
    Init(InitArgs),
    /// Show who is trusted, and for what
    Show(ShowArgs),
    /// Print the trust file for OpenSSH, or to be carried to another executor
    Export(ExportArgs),
    /// Propose a key of yours, and prove that you hold it
    ///
    /// Give the proposal to a trust admin, and read them the short code by another channel.
    Propose(ProposeArgs),
    /// Trust a key that was proposed, in a next version of the trust file
    Add(AddArgs),
    /// Trust somebody, or one of their keys, no longer, in a next version of the trust file
    Remove(RemoveArgs),
    /// Add your signature to a next version that needs more than one
    Sign(SignArgs),
    /// Pin a next version that enough trust admins have signed
    Install(InstallArgs),
}

/// Which key of one's own.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct KeyArgs {
    /// An SSH key of yours, by the file of either half
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Make a new key; `ssh-keygen` asks for its passphrase
    #[arg(long)]
    new: bool,
}

/// The key to sign with.
#[derive(Args, Debug)]
struct SignWith {
    /// The key to sign with [default: the strongest of yours that the trust file holds]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// The first version.
#[derive(Args, Debug)]
struct InitArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// Your name [default: your user name]
    #[arg(long, value_name = "NAME", value_parser = human)]
    name: Option<Principal>,
    /// Let your signature also run work at once, ahead of its review
    #[arg(long)]
    break_glass: bool,
    /// Write the version to this new file and do not pin it: whoever runs an agent of another user
    /// pins it there, with `secondkey trust install`
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// How to show it.
#[derive(Args, Debug)]
struct ShowArgs {
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// In which form.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct ExportArgs {
    /// As OpenSSH's `allowed_signers`, for `ssh-keygen -Y verify`
    #[arg(long)]
    allowed_signers: bool,
    /// All versions with their signatures, one JSON object per line
    #[arg(long)]
    json: bool,
}

/// A proposal.
#[derive(Args, Debug)]
struct ProposeArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// Your name [default: your user name]
    #[arg(long, value_name = "NAME", value_parser = human)]
    name: Option<Principal>,
    /// Write the proposal to this new file [default: standard output]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// Whom to add.
#[derive(Args, Debug)]
struct AddArgs {
    /// The proposal
    proposal: PathBuf,
    /// The groups that policies name, comma-separated
    #[arg(long, value_delimiter = ',', value_name = "GROUPS")]
    groups: Vec<String>,
    /// What their signature is good for, comma-separated
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Good::Approve], value_name = "PURPOSES")]
    purposes: Vec<Good>,
    /// The short code as its owner reads it to you; without it you are asked to compare
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// A page on which passkeys sign that a relay serves, such as `https://secondkey.example.com`
    #[arg(long, value_name = "ORIGIN")]
    relay_page: Option<String>,
    #[command(flatten)]
    next: NextArgs,
}

/// Whom to remove.
#[derive(Args, Debug)]
struct RemoveArgs {
    /// Whom, as `trust show` lists them
    #[arg(value_parser = human)]
    name: Principal,
    /// Only the key of this fingerprint
    #[arg(long, value_name = "FINGERPRINT")]
    only_key: Option<String>,
    #[command(flatten)]
    next: NextArgs,
}

/// How a next version is made.
#[derive(Args, Debug)]
struct NextArgs {
    /// How many trust admins have to sign each later version [default: as many as now]
    #[arg(long, value_name = "COUNT")]
    admin_quorum: Option<u32>,
    /// Write the next version to this new file and do not pin it
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    with: SignWith,
}

/// What to sign.
#[derive(Args, Debug)]
struct SignArgs {
    /// The next version; the signature is added to the file
    file: PathBuf,
    #[command(flatten)]
    with: SignWith,
    /// Sign without being asked, if the version has this digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
}

/// What to pin.
#[derive(Args, Debug)]
struct InstallArgs {
    /// The version, or what `secondkey trust export --json` has written: all that are not pinned yet
    file: PathBuf,
}

/// What a signature is good for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Good {
    /// Approving and rejecting requests
    Approve,
    /// Having work run at once, ahead of its review
    BreakGlass,
    /// Changing the trust file
    Trust,
}

impl From<Good> for Purpose {
    fn from(good: Good) -> Self {
        match good {
            Good::Approve => Self::Approve,
            Good::BreakGlass => Self::BreakGlass,
            Good::Trust => Self::Trust,
        }
    }
}

pub(super) async fn run(args: TrustArgs, shared: Shared) -> Result<Exit, Failure> {
    let desk = match &args.command {
        // On whatever machine the key is: no state is needed, and none is made.
        Command::Propose(args) => return start::propose(args),
        Command::Init(InitArgs { to: Some(file), .. }) if args.agent.is_given() => {
            let sentence = format!("`--to {}` needs no agent", file.display());
            let refusal = Refusal::new(Code::InvalidArgument, sentence);
            return Err(Failure::Misused(refusal.hint("leave out `--agent`")));
        }
        Command::Init(args) if args.to.is_some() => return start::init_into_file(args),
        Command::Init(_) | Command::Install(_) => Desk::open_or_make(&args.agent, shared).await?,
        Command::Show(_)
        | Command::Export(_)
        | Command::Add(_)
        | Command::Remove(_)
        | Command::Sign(_) => Desk::open(&args.agent, shared).await?,
    };
    let done = match args.command {
        Command::Init(args) => start::init(&desk, &args).await,
        Command::Show(args) => show(&desk, &args).await,
        Command::Export(args) => export(&desk, &args).await,
        Command::Propose(args) => start::propose(&args),
        Command::Add(args) => change::add(&desk, &args).await,
        Command::Remove(args) => change::remove(&desk, &args).await,
        Command::Sign(args) => change::sign(&desk, &args).await,
        Command::Install(args) => install::install(&desk, &args.file).await,
    };
    desk.close(done).await
}

async fn show(desk: &Desk, args: &ShowArgs) -> Result<Exit, Failure> {
    let trust = desk.trust().await?;
    let text = if args.json {
        print::json(&trust)
    } else {
        print::text(&trust)
    };
    output::say(&text)?;
    Ok(Exit::Done)
}

async fn export(desk: &Desk, args: &ExportArgs) -> Result<Exit, Failure> {
    let trust = desk.trust().await?;
    if args.allowed_signers {
        output::say(&allowed_signers::allowed_signers(&trust))?;
        return Ok(Exit::Done);
    }
    for version in desk.trust_versions().await? {
        // Plain structures with string keys have no way to fail.
        output::say(&serde_json::to_string(&version).unwrap_or_default())?;
    }
    Ok(Exit::Done)
}

/// Pins a version, and says so.
async fn pin(desk: &Desk, signed: SignedTrust) -> Result<Exit, Failure> {
    let (version, digest) = (signed.trust.version, signed.trust.digest());
    desk.install_trust(signed).await?;
    output::say(&format!(
        "Version {version} of the trust file is pinned; its digest is {digest}."
    ))?;
    Ok(Exit::Done)
}

/// The longest trust file, in bytes.
const LONGEST: u64 = crate::core::trust::LONGEST as u64;

fn read(file: &Path) -> Result<SignedTrust, Failure> {
    let bytes = files::read(file, LONGEST).map_err(|error| about(file, &error))?;
    let signed = SignedTrust::parse(&bytes).map_err(|error| {
        Refusal::new(
            Code::TrustRefused,
            format!("`{}` is not a trust file: {error}", file.display()),
        )
        .hint("take a file that `secondkey trust add` or `trust remove` has written")
    })?;
    Ok(signed)
}

/// An error of the system that says which file it is about.
fn about(file: &Path, error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("`{}`: {error}", file.display()))
}

/// A person, with or without `human:`.
fn human(text: &str) -> Result<Principal, String> {
    let name = text.strip_prefix("human:").unwrap_or(text);
    if name.contains(':') {
        return Err("only people sign; expected a name, or `human:NAME`".to_owned());
    }
    Ok(Principal::new(PrincipalKind::Human, name))
}
