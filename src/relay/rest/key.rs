//! The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a string of RFC 9651,
//! section 3.3.3. The bare key without its quotes is taken as well, because many clients send that.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::core::refusal::{Code, Refusal};

/// The header's name.
const NAME: &str = "idempotency-key";
/// What fits, for the description. How long a key may be is said by [`crate::core::idempotency`].
const PATTERN: &str = r#"^("([!#-\[\]-~]|\\["\\]){1,200}"|[!#-~]{1,200})$"#;

/// The key that a request names, without quotes.
pub(super) fn named(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut all = headers.get_all(NAME).iter();
    let (Some(first), None) = (all.next(), all.next()) else {
        return if headers.contains_key(NAME) {
            Err(unfit())
        } else {
            Ok(None)
        };
    };
    let text = first.to_str().map_err(|_| unfit())?.trim();
    let key = match text.strip_prefix('"') {
        Some(rest) => unquoted(rest).ok_or_else(unfit)?,
        None if text.contains('"') => return Err(unfit()),
        None => text.to_owned(),
    };
    Ok(Some(key))
}

/// What stands before the closing quote, which has to be the end.
fn unquoted(text: &str) -> Option<String> {
    let (mut key, mut rest) = (String::new(), text.chars());
    loop {
        match rest.next()? {
            '"' => return rest.next().is_none().then_some(key),
            '\\' => key.push(rest.next().filter(|it| matches!(it, '"' | '\\'))?),
            other => key.push(other),
        }
    }
}

fn unfit() -> Refusal {
    let sentence = "the header `Idempotency-Key` is not one string";
    Refusal::new(Code::InvalidArgument, sentence)
        .hint("send it once, in double quotes, such as \"8e03978e-40d5-43dd-bc93-6894a57f9324\"")
}

/// How it stands in the description.
pub(super) fn described() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "The caller's own name for this call, under which it runs once",
        "schema": {"type": "string", "pattern": PATTERN},
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(values: &[&[u8]]) -> Result<Option<String>, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(NAME, HeaderValue::from_bytes(value).unwrap());
        }
        named(&headers)
    }

    #[test]
    fn a_key_is_a_string_or_stands_bare() {
        assert_eq!(read(&[]).unwrap(), None);
        let described = described();
        let pattern = described["schema"]["pattern"].as_str().unwrap();
        let pattern = regex::Regex::new(pattern).unwrap();
        for (written, key) in [
            (&b"\"8e03-97\""[..], "8e03-97"),
            (b"8e03-97", "8e03-97"),
            (br#""a\"b\\c""#, r#"a"b\c"#),
            (br"a\b", r"a\b"),
        ] {
            assert_eq!(read(&[written]).unwrap().as_deref(), Some(key));
            assert!(pattern.is_match(std::str::from_utf8(written).unwrap()));
        }
        for odd in [
            &b"\""[..],
            b"\"open",
            b"\"a\";p=1",
            b"a\"b",
            b"\"a\\b\"",
            b"\xc3\xa9",
        ] {
            assert!(read(&[odd]).is_err(), "{odd:?}");
            assert!(!std::str::from_utf8(odd).is_ok_and(|odd| pattern.is_match(odd)));
        }
        assert!(read(&[b"a", b"a"]).is_err());
    }
}
