//! Database servers that a test may stop: made anew, for nobody else.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    MariaDb,
    Postgres,
}

/// A server of the test's own.
pub(crate) struct Server {
    kind: Kind,
    folder: TempDir,
    /// Where its programs are.
    programs: PathBuf,
    port: u16,
    running: Option<Child>,
}

impl Server {
    /// Makes its files; `None` where its programs are missing.
    pub(crate) fn install(kind: Kind) -> Option<Self> {
        let programs = match kind {
            Kind::Postgres => newest("/usr/lib/postgresql")?.join("bin"),
            Kind::MariaDb => PathBuf::from("/usr/sbin"),
        };
        if !programs.join(kind.program()).exists() {
            return None;
        }
        let server = Self {
            kind,
            folder: TempDir::new().unwrap(),
            programs,
            port: TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port(),
            running: None,
        };
        let data = server.data();
        std::fs::create_dir(&data).unwrap();
        let chown = Command::new("chown")
            .args(["-R", kind.user()])
            .arg(server.folder.path())
            .output();
        chown.unwrap();
        let mut install = match kind {
            Kind::Postgres => {
                let mut initdb = server.command("initdb");
                initdb
                    .args(["-U", "app", "--auth=trust", "--no-sync", "-D"])
                    .arg(&data);
                initdb
            }
            Kind::MariaDb => {
                let mut install = as_user(kind.user(), Path::new("/usr/bin/mariadb-install-db"));
                install.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
                install.arg(format!("--datadir={}", data.display()));
                install
            }
        };
        let output = install.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        match self.kind {
            Kind::Postgres => format!("postgres://app@127.0.0.1:{}/postgres", self.port),
            Kind::MariaDb => format!("mysql://root@127.0.0.1:{}/test", self.port),
        }
    }

    /// Starts it and waits until it answers.
    pub(crate) fn start(&mut self) {
        let mut command = self.command(self.kind.program());
        let (data, port) = (self.data(), self.port);
        let folder = self.folder.path().display();
        match self.kind {
            Kind::Postgres => {
                command.arg("-D").arg(&data).args([
                    "-c",
                    "fsync=off",
                    "-c",
                    "listen_addresses=127.0.0.1",
                ]);
                command.args(["-c", &format!("port={port}")]);
                command.args(["-c", &format!("unix_socket_directories={folder}")]);
            }
            Kind::MariaDb => {
                command.args([
                    "--no-defaults",
                    "--skip-name-resolve",
                    "--innodb-buffer-pool-size=16M",
                ]);
                command.args(["--bind-address=127.0.0.1", "--performance-schema=off"]);
                command.arg(format!("--datadir={}", data.display()));
                command.arg(format!("--port={port}"));
                command.arg(format!("--socket={folder}/socket"));
                command.arg(format!("--pid-file={folder}/pid"));
            }
        }
        let log = std::fs::File::create(self.folder.path().join("log"));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap());
        self.running = Some(child.spawn().unwrap());
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.ask("SELECT 1").is_none() {
            assert!(Instant::now() < deadline, "{:?} does not start", self.kind);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Stops it as a crash would.
    pub(crate) fn stop(&mut self) {
        let Some(mut child) = self.running.take() else {
            return;
        };
        let pid = self.pid();
        let signal = match self.kind {
            Kind::Postgres => "-QUIT",
            Kind::MariaDb => "-KILL",
        };
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        child.wait().unwrap();
    }

    /// Kills all its processes, the first one first: it makes the others.
    pub(crate) fn die(&mut self) {
        let Some(mut child) = self.running.take() else {
            return;
        };
        let pid = self.pid();
        let others = Command::new("ps")
            .args(["-o", "pid=", "--ppid", &pid])
            .output();
        let others = String::from_utf8(others.unwrap().stdout).unwrap();
        let all: Vec<_> = std::iter::once(pid.as_str())
            .chain(others.split_whitespace())
            .collect();
        // Some may be gone already.
        drop(Command::new("kill").arg("-9").args(&all).output());
        child.wait().unwrap();
        let lives = |pid: &&str| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            status.is_ok_and(|status| status.contains("postgres") && !status.contains(") Z "))
        };
        while all.iter().any(lives) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn pid(&self) -> String {
        let file = match self.kind {
            Kind::Postgres => self.data().join("postmaster.pid"),
            Kind::MariaDb => self.folder.path().join("pid"),
        };
        let pid = std::fs::read_to_string(file).unwrap();
        pid.lines().next().unwrap().trim().to_owned()
    }

    /// Its URL for another login, which has no password.
    pub(crate) fn url_for(&self, login: &str) -> String {
        self.url()
            .replace("app@", &format!("{login}@"))
            .replace("root@", &format!("{login}@"))
    }

    /// Runs a statement on a connection of its own.
    pub(crate) fn run(&self, sql: &str) {
        assert!(self.ask(sql).is_some(), "{sql}");
    }

    /// How many statements of the program are being run.
    pub(crate) fn busy(&self) -> usize {
        let sql = match self.kind {
            Kind::Postgres => {
                // A read is fetched through a cursor.
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' \
                 AND (query LIKE '%things k%' OR query LIKE 'fetch %') AND pid <> pg_backend_pid()"
            }
            Kind::MariaDb => {
                "SELECT count(*) FROM information_schema.processlist \
                 WHERE info LIKE '%things k%' AND id <> connection_id()"
            }
        };
        let count = self.ask(sql).expect("it answers");
        count.trim().parse().unwrap()
    }

    /// What everybody is doing.
    pub(crate) fn activity(&self) -> String {
        let sql = match self.kind {
            Kind::Postgres => "SELECT pid, state, wait_event, query FROM pg_stat_activity",
            Kind::MariaDb => "SHOW FULL PROCESSLIST",
        };
        self.ask(sql).expect("it answers")
    }

    /// What the engine's own client prints.
    pub(crate) fn ask(&self, sql: &str) -> Option<String> {
        let port = self.port.to_string();
        let output = match self.kind {
            Kind::Postgres => Command::new(self.programs.join("psql"))
                .args([
                    "-X",
                    "-q",
                    "-t",
                    "-A",
                    "-h",
                    "127.0.0.1",
                    "-U",
                    "app",
                    "-p",
                    &port,
                ])
                .args(["-d", "postgres", "-c", sql])
                .output(),
            Kind::MariaDb => Command::new("mariadb")
                .args([
                    "--no-defaults",
                    "-N",
                    "-B",
                    "-h",
                    "127.0.0.1",
                    "-u",
                    "root",
                    "-P",
                    &port,
                ])
                .args(["test", "-e", sql])
                .output(),
        };
        let output = output.unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        output.status.success().then_some(printed)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        as_user(self.kind.user(), &self.programs.join(program))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Kind {
    fn program(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadbd",
            Self::Postgres => "postgres",
        }
    }

    /// The one that it is run as: a package of the program alone makes no user for it.
    fn user(self) -> &'static str {
        let users = match self {
            Self::MariaDb => ["mysql", "postgres"],
            Self::Postgres => ["postgres", "mysql"],
        };
        let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let is_known = |user: &&str| {
            let begin = format!("{user}:");
            known.lines().any(|line| line.starts_with(&begin))
        };
        users.into_iter().find(is_known).unwrap_or("nobody")
    }
}

/// A database server does not want to run as root.
fn as_user(user: &str, program: &Path) -> Command {
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", user, "--"]).arg(program);
    command
}

/// The folder with the highest number below another.
/// The newest of the versions in a folder.
pub(crate) fn newest(folder: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries.filter_map(|entry| Some(entry.ok()?.path())).max()
}
