//! The message about an event, as each kind of receiver reads it.

use serde::Serialize;
use serde_json::{Value, json};

use crate::core::approval;
use crate::core::ids::RequestId;
use crate::core::notice::event::Event;
use crate::core::notice::teams;
use crate::core::request::Request;
use crate::core::time::Timestamp;
use crate::core::visible::on_one_line;

/// The most relations that are named.
const RELATIONS: usize = 20;
/// The longest name, in characters.
const LONGEST: usize = 128;

/// Who reads the message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// A program: `{type, timestamp, data}`, as the Standard Webhooks specification has it.
    #[default]
    Standard,
    /// An incoming webhook of Slack.
    Slack,
    /// A workflow of Microsoft Teams.
    Teams,
}

impl Format {
    /// Every format, with its written form.
    pub const ALL: [(&str, Self); 3] = [
        ("standard", Self::Standard),
        ("slack", Self::Slack),
        ("teams", Self::Teams),
    ];

    /// The format of this written form.
    pub fn named(text: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(name, _)| *name == text)
            .map(|(_, format)| format)
    }
}

/// What a message says of a request. Every text is on one line, without characters that hide, and
/// cut at 128 characters.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Subject {
    /// The request.
    pub request: RequestId,
    /// Where it is to run.
    pub target: String,
    /// The target's environment.
    pub environment: String,
    /// The worst that it can do.
    pub effect: &'static str,
    /// The statement's verb.
    pub kind: String,
    /// The relations that it reads or writes, sorted, at most 20 of them.
    pub relations: Vec<String>,
    /// How many relations there are beside those.
    pub more_relations: usize,
    /// Who asks.
    pub requester: String,
    /// Until when it waits, where it still does; RFC 3339.
    pub expires: Option<String>,
    /// Where a person can look at it. Opening it proves nothing and approves nothing.
    pub link: String,
}

impl Subject {
    /// What to say of a request; `until` is when it stops waiting, and `page` the page's address
    /// without a slash at its end.
    pub fn of(request: &Request, until: Option<Timestamp>, page: &str) -> Self {
        let asked = request.asked();
        // A document that cannot be read names no relations; who follows the link sees more.
        let document = approval::Document::parse(asked.document.text().as_bytes()).ok();
        let mut names: Vec<String> = document.map_or_else(Vec::new, |document| {
            document.reads.into_iter().chain(document.writes).collect()
        });
        names.sort();
        names.dedup();
        Self {
            request: asked.id.clone(),
            target: plain(&asked.target),
            environment: plain(&asked.environment),
            effect: asked.effect.as_str(),
            kind: plain(&asked.kind),
            relations: names
                .iter()
                .take(RELATIONS)
                .map(|name| plain(name))
                .collect(),
            more_relations: names.len().saturating_sub(RELATIONS),
            requester: plain(&asked.requester.to_string()),
            expires: until.map(|until| until.to_string()),
            link: format!("{page}/requests/{}", asked.id),
        }
    }

    /// The subject as names and values for people.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut relations = self.relations.join(", ");
        if self.more_relations > 0 {
            relations = format!("{relations} and {} more", self.more_relations);
        }
        let mut facts = vec![
            ("Target", format!("{} ({})", self.target, self.environment)),
            ("Effect", format!("{} ({})", self.effect, self.kind)),
            ("Relations", relations),
            ("Asked by", self.requester.clone()),
        ];
        facts.extend(self.expires.clone().map(|until| ("Waits until", until)));
        facts.push(("Request", self.request.to_string()));
        facts
    }
}

/// One message: about an event, or a test.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// `webhook-id`: the same at each attempt.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// What happened to what; nothing where somebody only tries whether messages arrive.
    pub about: Option<(Event, Subject)>,
}

/// The type of a message that only tries whether messages arrive.
pub const TEST: &str = "notification.test";

impl Notice {
    /// The type of the event.
    pub fn kind(&self) -> &'static str {
        self.about
            .as_ref()
            .map_or(TEST, |(event, _)| event.as_str())
    }

    /// What happened, for people, in words of this program's own.
    pub fn headline(&self) -> &'static str {
        let event = self.about.as_ref().map(|(event, _)| event.headline());
        event.unwrap_or("SecondKey can reach you here")
    }

    /// The JSON text to send.
    pub fn body(&self, format: Format) -> String {
        let body = match format {
            Format::Standard => self.standard(),
            Format::Slack => self.slack(),
            Format::Teams => teams::message(self),
        };
        body.to_string()
    }

    fn standard(&self) -> Value {
        let data = self.about.as_ref().map(|(_, subject)| json!(subject));
        json!({
            "type": self.kind(),
            "timestamp": self.at.to_string(),
            "data": data.unwrap_or_else(|| json!({})),
        })
    }

    /// `text` is what a phone's own notification shows; the blocks are what the channel shows. What
    /// others have named stands in `plain_text`, where nothing is a link, a mention or markup.
    fn slack(&self) -> Value {
        let mut text = slack_escaped(self.headline());
        let mut blocks = vec![json!({
            "type": "section",
            "text": {"type": "plain_text", "text": self.headline(), "emoji": false},
        })];
        if let Some((_, subject)) = &self.about {
            text = slack_escaped(&format!(
                "{text}: {} on {} ({})",
                subject.effect, subject.target, subject.environment
            ));
            let facts = subject.facts().into_iter();
            let fields = facts.map(|(name, value)| {
                let value = clipped(&format!("{name}: {value}"), 1_000);
                json!({"type": "plain_text", "text": value, "emoji": false})
            });
            blocks.push(json!({"type": "section", "fields": fields.collect::<Vec<_>>()}));
            let link = slack_escaped(&subject.link);
            blocks.push(json!({
                "type": "context",
                "elements": [{"type": "mrkdwn", "text": format!("<{link}|Look at it>"), "verbatim": true}],
            }));
        }
        json!({
            "text": text, "blocks": blocks,
            "unfurl_links": false, "unfurl_media": false, "link_names": false, "parse": "none",
        })
    }
}

/// What Slack wants escaped in a text: so no mention, channel or link can be written.
fn slack_escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

fn plain(text: &str) -> String {
    clipped(&on_one_line(text), LONGEST)
}

fn clipped(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(3)).collect();
    format!("{kept}...")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::core::notice) fn notice(relation: &str) -> Notice {
        let request = RequestId::new(1_700_000_000_000, [7; 10]);
        let subject = Subject {
            target: plain("shop"),
            environment: plain("production"),
            effect: "write",
            kind: plain("update"),
            relations: vec![plain(relation)],
            more_relations: 2,
            requester: plain("ai:ada/claude-code"),
            expires: Some(Timestamp::from_unix_ms(1_700_086_400_000).to_string()),
            link: format!("http://localhost:7321/requests/{request}"),
            request: request.clone(),
        };
        Notice {
            id: Event::Pending.message_id(&request),
            at: Timestamp::from_unix_ms(1_700_000_000_000),
            about: Some((Event::Pending, subject)),
        }
    }

    #[test]
    fn a_program_reads_the_standard_form() {
        insta::assert_snapshot!(pretty(&notice("public.orders"), Format::Standard));
        let test = Notice {
            id: "msg_1".into(),
            at: Timestamp::from_unix_ms(0),
            about: None,
        };
        let body: Value = serde_json::from_str(&test.body(Format::Standard)).unwrap();
        let at = "1970-01-01T00:00:00.000Z";
        let expected = json!({"type": "notification.test", "timestamp": at, "data": {}});
        assert_eq!(body, expected);
    }

    #[test]
    fn slack_reads_blocks() {
        insta::assert_snapshot!(pretty(&notice("public.orders"), Format::Slack));
    }

    /// In Slack, nothing but our own link is in a text that has markup, and `<` begins all of it.
    #[test]
    fn in_slack_a_name_cannot_become_a_mention_or_a_link() {
        let evil = "<!channel> <https://evil.example|x> @here *b*\n&lt;";
        let mut notice = notice(evil);
        let (_, subject) = notice.about.as_mut().unwrap();
        subject.target = plain(evil);
        subject.requester = plain(evil);
        let message: Value = serde_json::from_str(&notice.body(Format::Slack)).unwrap();
        let text = message["text"].as_str().unwrap();
        assert!(!text.contains(['<', '>']), "{text}");
        assert!(text.contains("&lt;!channel&gt;"), "{text}");
        let mut links = 0;
        for block in message["blocks"].as_array().unwrap() {
            let many = ["fields", "elements"]
                .into_iter()
                .filter_map(|key| block[key].as_array())
                .flatten();
            for part in many.chain(block.get("text")) {
                if part["type"] == "mrkdwn" {
                    links += 1;
                    let text = part["text"].as_str().unwrap();
                    assert!(
                        text.starts_with("<http://localhost:7321/requests/req_")
                            && !text.contains("evil")
                    );
                } else {
                    assert_eq!(part["type"], "plain_text", "{part}");
                    assert!(part["text"].as_str().unwrap().chars().count() <= 2_000);
                }
            }
        }
        assert_eq!(links, 1);
    }

    #[test]
    fn names_are_cut_and_show_themselves() {
        assert_eq!(plain("a\u{202e}b\n"), "a\\u{202e}b\\n");
        assert_eq!(plain(&"x".repeat(500)).len(), LONGEST);
    }

    pub(in crate::core::notice) fn pretty(notice: &Notice, format: Format) -> String {
        let value: Value = serde_json::from_str(&notice.body(format)).unwrap();
        serde_json::to_string_pretty(&value).unwrap()
    }
}
