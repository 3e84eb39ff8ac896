//! Messages for a workflow of Microsoft Teams ("Post to a channel when a webhook request is
//! received"): an Adaptive Card, version 1.4.

use serde_json::{Value, json};

use crate::core::notice::message::Notice;

/// The message. What others have named stands in text runs, which know no markup, unlike the text
/// blocks and facts of a card; a mention would need an entry under `msteams`, and there is none.
pub(super) fn message(notice: &Notice) -> Value {
    let mut body = vec![json!({
        "type": "TextBlock", "text": notice.headline(), "weight": "Bolder", "wrap": true,
    })];
    let mut actions = Vec::new();
    if let Some((_, subject)) = &notice.about {
        for (name, value) in subject.facts() {
            body.push(json!({
                "type": "RichTextBlock",
                "spacing": "Small",
                "inlines": [
                    {"type": "TextRun", "text": format!("{name}: "), "weight": "Bolder"},
                    {"type": "TextRun", "text": value},
                ],
            }));
        }
        actions.push(json!({
            "type": "Action.OpenUrl", "title": "Look at it", "url": subject.link,
        }));
    }
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
                "actions": actions,
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::notice::Format;
    use crate::core::notice::message::tests::{notice, pretty};

    #[test]
    fn teams_reads_an_adaptive_card() {
        insta::assert_snapshot!(pretty(&notice("public.orders"), Format::Teams));
    }

    #[test]
    fn in_teams_a_name_cannot_become_a_mention_or_a_link() {
        let evil = "<at>everyone</at> [x](https://evil.example) **b**";
        let message: Value = serde_json::from_str(&notice(evil).body(Format::Teams)).unwrap();
        let card = &message["attachments"][0]["content"];
        assert!(card.get("msteams").is_none());
        for block in card["body"].as_array().unwrap() {
            match block["type"].as_str().unwrap() {
                "TextBlock" => assert_eq!(block["text"], "A request waits for approval"),
                other => assert_eq!(other, "RichTextBlock"),
            }
        }
        assert!(card["body"].to_string().contains("evil.example"));
        let url = card["actions"][0]["url"].as_str().unwrap();
        assert!(
            url.starts_with("http://localhost:7321/requests/req_"),
            "{url}"
        );
    }
}
