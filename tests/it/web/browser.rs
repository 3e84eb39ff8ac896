//! A real browser, driven by plain HTTP (W3C `WebDriver`; the authenticator by WebAuthn §11).

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::http::send;
use crate::support::{skip, variable};
use crate::web::rig::free_port;

/// The longest that anything on a page may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Chromium with one window.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    profile: TempDir,
}

impl Browser {
    /// Starts it, or says that there is none.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let found = |name: &str| {
            let folders = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];
            let mut paths = folders.iter().map(|folder| Path::new(folder).join(name));
            paths.find(|path| path.exists())
        };
        let (Some(chromium), Some(chromedriver)) = (found("chromium"), found("chromedriver"))
        else {
            skip(test, "chromium and chromedriver are not installed");
            return None;
        };
        let port = free_port();
        let driver = Command::new(chromedriver)
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let profile = TempDir::new().unwrap();
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            profile,
        };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "chromedriver does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        let data = format!("--user-data-dir={}", browser.profile.path().display());
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=1200,1400",
            &data,
        ];
        let options = json!({"binary": chromium, "args": args});
        let wanted = json!({"browserName": "chrome", "goog:chromeOptions": options, "webauthn:virtualAuthenticators": true});
        let made = browser.post(
            "/session",
            &json!({"capabilities": {"alwaysMatch": wanted}}),
        );
        browser.session = format!("/session/{}", made["sessionId"].as_str().unwrap());
        Some(browser)
    }

    /// Puts a passkey authenticator into the machine: with a finger that is always there.
    pub(crate) fn add_authenticator(&self) {
        let wanted = json!({
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": true,
            "hasUserVerification": true, "isUserVerified": true, "isUserConsenting": true,
        });
        self.command("/webauthn/authenticator", &wanted);
    }

    pub(crate) fn open(&self, url: &str) {
        self.command("/url", &json!({"url": url}));
    }

    /// The first element that a CSS selector finds, waited for.
    pub(crate) fn find(&self, css: &str) -> String {
        self.wait(css, || {
            let found = self.post_raw("/element", &json!({"using": "css selector", "value": css}));
            let element = found["value"].as_object()?.values().next()?.as_str()?;
            (found["value"].get("error").is_none()).then(|| element.to_owned())
        })
    }

    pub(crate) fn click(&self, css: &str) {
        let element = self.find(css);
        self.command(&format!("/element/{element}/click"), &json!({}));
    }

    pub(crate) fn write(&self, css: &str, text: &str) {
        let element = self.find(css);
        self.command(&format!("/element/{element}/clear"), &json!({}));
        self.command(&format!("/element/{element}/value"), &json!({"text": text}));
    }

    /// What is seen of an element, once it says `part`.
    pub(crate) fn says(&self, css: &str, part: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        self.wait(&format!("{css} to say {part:?}"), || {
            let said = self.command("/execute/sync", &json!({"script": script, "args": [css]}));
            let said = said.as_str()?.to_owned();
            (!said.is_empty() && said.contains(part)).then_some(said)
        })
    }

    pub(crate) fn run(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The size of the window, in pixels of CSS.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let parameters =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &parameters);
    }

    /// Whether the browser asks for a dark page.
    pub(crate) fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": value}]);
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    fn devtools(&self, name: &str, parameters: &Value) -> Value {
        self.command(
            "/goog/cdp/execute",
            &json!({"cmd": name, "params": parameters}),
        )
    }

    /// A picture of the whole page in the folder `TEST_SCREENSHOTS`, if somebody wants to look.
    pub(crate) fn picture(&self, name: &str) {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;

        let Some(folder) = variable("TEST_SCREENSHOTS") else {
            return;
        };
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let taken = self.devtools("Page.captureScreenshot", &whole);
        let png = STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), png).unwrap();
    }

    fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            if Instant::now() >= deadline {
                let text = self.run("return location.href + '\\n' + document.body.innerText");
                panic!("waited in vain for {what} on {text}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        let said = self.post_raw(path, body);
        assert!(said["value"].get("error").is_none(), "{path}: {said}");
        said["value"].clone()
    }

    fn post_raw(&self, path: &str, body: &Value) -> Value {
        let host = format!("127.0.0.1:{}", self.port);
        let headers = [
            ("Host", host.as_str()),
            ("Content-Type", "application/json"),
        ];
        let path = format!("{}{path}", self.session);
        let answer = send(self.port, "POST", &path, &headers, &body.to_string());
        serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{path}: {answer:?}"))
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.command(path, body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            let host = format!("127.0.0.1:{}", self.port);
            send(self.port, "DELETE", &self.session, &[("Host", &host)], "");
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
