//! A person at their desk: a browser with a passkey that the trust file holds, beside a shop that
//! `secondkey mcp` serves. Everything is set up as a person does it, through the built program.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use secondkey::core::ids::RequestId;
use secondkey::core::request::{Request, Status};
use secondkey::store::State;
use secondkey::store::requests::Filter;

use crate::support::program::Program;
use crate::support::{binary, shop, skip};
use crate::web::browser::Browser;
use crate::web::rig::{free_port, open, serve};

/// The desk.
pub(crate) struct Desk {
    /// Serves the shop, which is a production target, to a client.
    pub(crate) program: Program,
    /// The shop's database.
    pub(crate) file: PathBuf,
    /// The same state folder, as another process has it.
    pub(crate) state: State,
    browser: Browser,
    origin: String,
    page: Child,
}

impl Desk {
    /// With the browser let in and its passkey enrolled; a call waits so long for people. `None`,
    /// and says so, where there is no browser or no `ssh-keygen`.
    pub(crate) fn set_up(test: &str, wait: &str) -> Option<Self> {
        Self::offering(test, wait, None)
    }

    /// The same, with a file of capabilities.
    pub(crate) fn offering(test: &str, wait: &str, capabilities: Option<&str>) -> Option<Self> {
        let mut keygen = Command::new("ssh-keygen");
        if keygen.arg("-?").stdin(Stdio::null()).output().is_err() {
            skip(test, "ssh-keygen is not installed");
            return None;
        }
        let browser = Browser::start(test)?;
        let mut config = format!(
            "approval_wait = \"{wait}\"\n[targets.shop]\nurl = \"sqlite:shop.db\"\nenvironment = \"production\"\n"
        );
        if capabilities.is_some() {
            config.push_str("capabilities = \"capability.yaml\"\n");
        }
        let program = Program::with_config(&config);
        let folder = program.folder.path();
        if let Some(text) = capabilities {
            std::fs::write(folder.join("capability.yaml"), text).unwrap();
        }
        let file = folder.join("shop.db");
        shop::create(&file);
        let port = free_port();
        let (page, link) = serve(folder, port);
        let desk = Self {
            state: open(folder),
            file,
            browser,
            origin: format!("http://localhost:{port}"),
            page,
            program,
        };
        desk.enrol(&link);
        Some(desk)
    }

    /// The first signer signs the passkey that the browser makes into the trust file.
    fn enrol(&self, link: &str) {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f", "root"])
            .current_dir(self.program.folder.path())
            .status();
        assert!(made.unwrap().success());
        self.run(&["trust", "init", "--name", "root", "--key", "root"]);
        self.browser.add_authenticator();
        self.browser.open(link);
        self.browser.find("main");
        self.browser.open(&format!("{}/trust", self.origin));
        self.browser.write("input[name=name]", "ada");
        self.browser.write("input[name=label]", "test laptop");
        self.browser.click("#enrol-form button");
        let code = self.browser.says("#proposal-code", "-");
        let command = self
            .browser
            .says("#proposal-command", "secondkey trust add ");
        let proposal = command.strip_prefix("secondkey trust add ").unwrap().trim();
        let add = ["trust", "add", proposal, "--groups", "owner"];
        let by = ["--code", code.trim(), "--key", "root"];
        self.run(&[&add[..], &by[..]].concat());
    }

    /// Runs a command of the program, which has to end well.
    fn run(&self, arguments: &[&str]) {
        let folder = self.program.folder.path();
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .args(["--state", "state"])
            .current_dir(folder)
            .env("HOME", folder)
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }

    /// The one request that waits.
    pub(crate) fn waiting(&self) -> RequestId {
        let filter = Filter {
            statuses: vec![Status::Pending],
            ..Filter::default()
        };
        let mut page = self.state.requests().list(&filter).unwrap();
        assert_eq!(page.requests.len(), 1, "one waits");
        page.requests.remove(0).id
    }

    /// The document of the one request that waits.
    pub(crate) fn waiting_document(&self) -> String {
        let shown = secondkey::broker::requests::show(&self.state, &self.waiting()).unwrap();
        String::from_utf8(shown.document.canonical()).unwrap()
    }

    /// The request as another process finds it.
    pub(crate) fn request(&self, id: &RequestId) -> Request {
        self.state.requests().get(id).unwrap()
    }

    /// The person follows a link to a request's page, reads the statement there, and approves it
    /// with the passkey.
    pub(crate) fn approve(&self, link: &str, statement: &str) {
        self.read(link, "#statement", statement);
        self.sign();
    }

    /// Follows a link to a request's page, where a part of it says this.
    pub(crate) fn read(&self, link: &str, part: &str, says: &str) {
        // Each test has its page on a port of its own.
        let path = link.strip_prefix("http://localhost:7321").unwrap();
        self.browser.open(&format!("{}{path}", self.origin));
        let said = self.browser.says(part, says);
        assert_eq!(said.trim_end(), says);
    }

    /// Approves what is open with the passkey.
    pub(crate) fn sign(&self) {
        self.browser.click("button.go");
        // By now it may have run: whoever asked for it waits.
        let vote = "A signed vote was counted by human:ada (approve)";
        self.browser.says(".timeline", vote);
    }

    /// The price of the lamp, read on a connection of its own.
    pub(crate) fn price(&self) -> f64 {
        let database = rusqlite::Connection::open(&self.file).unwrap();
        let price = "SELECT price FROM products WHERE name = 'lamp'";
        database.query_row(price, [], |row| row.get(0)).unwrap()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        drop(self.page.kill());
        drop(self.page.wait());
    }
}
