//! `[notify]`: how people are told that something waits for them.

use std::collections::BTreeSet;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use crate::config::document::{At, Table};
use crate::config::meant::Reading;
use crate::config::problem::{Place, Problem, Problems};
use crate::config::secret::{FORMS, Reference};
use crate::config::surroundings::Environment;
use crate::core::notice::{Event, Format, Network, SigningSecret};

/// Where the page of local mode is, unless something else is configured.
const PAGE_URL: &str = "http://localhost:7321";

/// How people are told.
#[derive(Debug)]
pub struct Notify {
    /// Whether this process shows notifications on the desktop: wanted, and there is one.
    pub desktop: bool,
    /// Where the links in messages lead, without a slash at the end.
    pub page_url: String,
    /// The webhook, where one is configured.
    pub webhook: Option<WebhookConfig>,
}

/// One webhook.
#[derive(Debug)]
pub struct WebhookConfig {
    /// Its address: `https`, or `http` where `allow_private` names something. Parsed, without user
    /// information. Secret, because a chat's webhook is authorised by nothing else.
    pub url: SecretString,
    /// What messages are signed with.
    pub secret: Option<SigningSecret>,
    /// How messages are written.
    pub format: Format,
    /// Addresses that may be reached although they are not global unicast.
    pub allow_private: Vec<Network>,
    /// What it is told of.
    pub events: BTreeSet<Event>,
}

/// `[notify]` as written.
#[derive(Debug, Default)]
pub(super) struct WrittenNotify {
    desktop: Option<At<bool>>,
    page_url: Option<At<String>>,
    webhook: Option<WrittenWebhook>,
}

/// `[notify.webhook]` as written.
#[derive(Debug)]
struct WrittenWebhook {
    place: Place,
    url: Option<At<SecretString>>,
    secret: Option<At<SecretString>>,
    format: Option<At<String>>,
    allow_private: Vec<At<String>>,
    events: Option<Vec<At<String>>>,
}

pub(super) fn from_table(top: &Table<'_>, problems: &mut Problems) -> WrittenNotify {
    let Some(notify) = top.table("notify", problems) else {
        return WrittenNotify::default();
    };
    notify.only(&["desktop", "page_url", "webhook"], problems);
    WrittenNotify {
        desktop: notify.truth("desktop", problems),
        page_url: notify.text("page_url", problems),
        webhook: notify
            .table("webhook", problems)
            .map(|table| webhook(&table, problems)),
    }
}

fn webhook(table: &Table<'_>, problems: &mut Problems) -> WrittenWebhook {
    let known = ["allow_private", "events", "format", "secret", "url"];
    table.only(&known, problems);
    if !table.has("url") {
        problems.add(Problem::new(
            table.place.clone(),
            "this webhook has no `url`",
            format!("add `url = \"https://...\"`, or a reference to it: {FORMS}"),
        ));
    }
    let secret = |at: At<String>| At {
        value: SecretString::from(at.value),
        place: at.place,
    };
    WrittenWebhook {
        place: table.place.clone(),
        url: table.text("url", problems).map(secret),
        secret: table.text("secret", problems).map(secret),
        format: table.text("format", problems),
        allow_private: table.texts("allow_private", problems).unwrap_or_default(),
        events: table.texts("events", problems),
    }
}

impl Reading<'_> {
    /// How people are told. `folder` is where relative paths start.
    pub(super) fn notify(&mut self, written: &WrittenNotify, folder: &Path) -> Notify {
        let wanted = written.desktop.as_ref().is_none_or(|at| at.value);
        let page_url = written.page_url.as_ref();
        Notify {
            desktop: wanted && has_desktop(&self.around.environment),
            page_url: page_url
                .and_then(|at| self.page_url(at))
                .unwrap_or_else(|| PAGE_URL.to_owned()),
            webhook: written
                .webhook
                .as_ref()
                .and_then(|webhook| self.webhook(webhook, folder)),
        }
    }

    fn page_url(&mut self, at: &At<String>) -> Option<String> {
        let url = Url::parse(&at.value).ok();
        let plain = |url: &Url| {
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some()
                && bare(url)
                && url.query().is_none()
        };
        if let Some(url) = url.filter(plain) {
            return Some(url.as_str().trim_end_matches('/').to_owned());
        }
        self.problem(
            &at.place,
            "`notify.page_url` is not the address of a page",
            "write `http://` or `https://`, a host and perhaps a path, and nothing else",
        );
        None
    }

    fn webhook(&mut self, written: &WrittenWebhook, folder: &Path) -> Option<WebhookConfig> {
        // Everything is looked at even when something is wrong, so that all problems show.
        let allow_private = self.networks(&written.allow_private);
        let events = self.events(written.events.as_deref());
        let format = self.format(written.format.as_ref());
        let url = written.url.as_ref();
        let url = url.and_then(|url| self.webhook_url(url, format, folder));
        let plain = url.as_ref().is_some_and(|url| url.scheme() == "http");
        if let Some(at) = written
            .url
            .as_ref()
            .filter(|_| plain && allow_private.is_empty())
        {
            self.problem(
                &at.place,
                "a webhook needs `https`",
                "`http` reaches only addresses that `allow_private` names",
            );
            return None;
        }
        let secret = match &written.secret {
            Some(at) => self.signing_secret(at, folder).map(Some),
            None if format == Format::Standard => {
                self.problem(
                    &written.place,
                    "this webhook has no `secret`",
                    format!(
                        "add `secret = \"...\"` with a reference to `whsec_` and base64: {FORMS}"
                    ),
                );
                None
            }
            None => Some(None),
        };
        Some(WebhookConfig {
            url: SecretString::from(url?.as_str()),
            secret: secret?,
            format,
            allow_private,
            events,
        })
    }

    fn webhook_url(&mut self, at: &At<SecretString>, format: Format, folder: &Path) -> Option<Url> {
        let reference = Reference::parse(at.value.expose_secret());
        if reference.is_none() && format != Format::Standard {
            self.warnings.push(Problem::new(
                at.place.clone(),
                "whoever reads this address can write to the channel",
                format!("write a reference instead: {FORMS}"),
            ));
        }
        let text = match reference {
            Some(reference) => self.resolve(&reference, &at.place, folder)?,
            None => at.value.clone(),
        };
        let url = Url::parse(text.expose_secret()).ok();
        let fit = |url: &Url| {
            let named = match url.host() {
                Some(Host::Domain(name)) => !name.is_empty(),
                Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
                None => false,
            };
            matches!(url.scheme(), "http" | "https") && named && bare(url)
        };
        let fit = url.filter(fit);
        if fit.is_none() {
            self.problem(
                &at.place,
                "this is not the address of a webhook",
                "write `https://`, a host and a path, without a user, a password or a fragment",
            );
        }
        fit
    }

    fn signing_secret(&mut self, at: &At<SecretString>, folder: &Path) -> Option<SigningSecret> {
        let Some(reference) = Reference::parse(at.value.expose_secret()) else {
            self.problem(
                &at.place,
                "`secret` must be a reference, not the secret itself",
                format!("write {FORMS}"),
            );
            return None;
        };
        let text = self.resolve(&reference, &at.place, folder)?;
        SigningSecret::parse(text.expose_secret())
            .map_err(|error| {
                let hint = "make one: echo \"whsec_$(openssl rand -base64 32)\"";
                self.problem(&at.place, error.to_string(), hint);
            })
            .ok()
    }

    fn format(&mut self, written: Option<&At<String>>) -> Format {
        let Some(at) = written else {
            return Format::default();
        };
        Format::named(&at.value).unwrap_or_else(|| {
            self.problem(
                &at.place,
                format!("`{}` is not a format", at.value.escape_debug()),
                "the formats are `standard`, `slack` and `teams`",
            );
            Format::default()
        })
    }

    fn networks(&mut self, written: &[At<String>]) -> Vec<Network> {
        let mut networks = Vec::new();
        for at in written {
            match at.value.parse() {
                Ok(network) => networks.push(network),
                Err(error) => self.problem(
                    &at.place,
                    format!("`{}` is {error}", at.value.escape_debug()),
                    "all bits behind the prefix are zero",
                ),
            }
        }
        networks
    }

    fn events(&mut self, written: Option<&[At<String>]>) -> BTreeSet<Event> {
        let Some(written) = written else {
            return Event::ALL.into();
        };
        let mut events = BTreeSet::new();
        for at in written {
            match Event::named(&at.value) {
                Some(event) => {
                    events.insert(event);
                }
                None => self.problem(
                    &at.place,
                    format!("`{}` is not an event", at.value.escape_debug()),
                    format!(
                        "the events are {}",
                        Event::ALL.map(|e| format!("`{e}`")).join(", ")
                    ),
                ),
            }
        }
        events
    }
}

fn bare(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
}

/// Whether somebody sits in front of this session.
fn has_desktop(environment: &Environment) -> bool {
    cfg!(target_os = "macos")
        || ["WAYLAND_DISPLAY", "DISPLAY"]
            .iter()
            .any(|name| environment.text(name).is_some())
}
