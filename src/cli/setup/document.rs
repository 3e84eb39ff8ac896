//! A client's list of servers, edited as text: what is not ours keeps its bytes, its order and its
//! layout. JSON as in RFC 8259, without comments.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::setup::layout;

/// The member of the file's object that holds the servers, in both clients.
const SERVERS: &str = "mcpServers";

/// A file with servers in it.
#[derive(Debug)]
pub(super) struct Document<'t> {
    text: &'t str,
    whole: Object,
    servers: Option<Object>,
}

/// Why a file is left alone.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The file, or its list of servers, is something else than an object.
    #[error("{0} is not an object")]
    Shape(&'static str),
    /// A name that matters stands there twice, so that readers differ in what it means.
    #[error("`{0}` stands there twice")]
    Twice(String),
}

/// Where an object and its members stand in the text.
#[derive(Debug)]
struct Object {
    at: Range<usize>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    name: String,
    key: Range<usize>,
    value: Range<usize>,
}

impl<'t> Document<'t> {
    /// Finds the servers in a file.
    pub(super) fn read(text: &'t str) -> Result<Self, Unreadable> {
        let whole: &RawValue = serde_json::from_str(text)?;
        let whole = object(text, whole.get(), "the file's content")?;
        let servers = whole.only(SERVERS)?.map(|member| {
            let servers = text.get(member.value.clone()).unwrap_or_default();
            object(text, servers, "`mcpServers`")
        });
        let servers = servers.transpose()?;
        Ok(Self {
            text,
            whole,
            servers,
        })
    }

    /// The server of a name.
    pub(super) fn server(&self, name: &str) -> Result<Option<Value>, Unreadable> {
        let found = self.servers.as_ref().map(|servers| servers.only(name));
        let Some(member) = found.transpose()?.flatten() else {
            return Ok(None);
        };
        let raw = self.text.get(member.value.clone()).unwrap_or_default();
        Ok(Some(serde_json::from_str(raw)?))
    }

    /// The text with this server in it: in the place of the one of its name, else as the last.
    pub(super) fn with(&self, name: &str, server: &impl Serialize) -> Result<String, Unreadable> {
        let Some(servers) = &self.servers else {
            let servers = BTreeMap::from([(name, server)]);
            return self.with_last(&self.whole, SERVERS, &servers);
        };
        match servers.only(name)? {
            Some(member) => {
                let style = self.style(servers, &member.key);
                Ok(self.changed(&member.value, &style.value(server)?))
            }
            None => self.with_last(servers, name, server),
        }
    }

    /// The text without the server of this name.
    pub(super) fn without(&self, name: &str) -> Result<String, Unreadable> {
        let Some(servers) = &self.servers else {
            return Ok(self.text.to_owned());
        };
        let Some(member) = servers.only(name)? else {
            return Ok(self.text.to_owned());
        };
        let before = servers
            .members
            .iter()
            .rfind(|other| other.value.end <= member.key.start);
        let after = servers
            .members
            .iter()
            .find(|other| other.key.start >= member.value.end);
        Ok(match (before, after) {
            (Some(before), None) => self.changed(&(before.value.end..member.value.end), ""),
            (_, Some(after)) => self.changed(&(member.key.start..after.key.start), ""),
            (None, None) => self.changed(&servers.at, "{}"),
        })
    }

    /// The text with one more member at the end of an object.
    fn with_last(
        &self,
        object: &Object,
        name: &str,
        value: &impl Serialize,
    ) -> Result<String, Unreadable> {
        let Some(last) = object.members.last() else {
            let style = Style::below(&self.indent(object.at.start), self.newline());
            let member = style.member(name, value)?;
            let (inner, outer) = (style.line(), style.outer_line());
            return Ok(self.changed(&object.at, &format!("{{{inner}{member}{outer}}}")));
        };
        let style = self.style(object, &last.key);
        let member = format!(",{}{}", style.line(), style.member(name, value)?);
        Ok(self.changed(&(last.value.end..last.value.end), &member))
    }

    /// How the members of an object are laid out, by one of them.
    fn style(&self, object: &Object, key: &Range<usize>) -> Style {
        let before = self.text.get(..key.start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        let own_line = before.len() > line.len() && line.trim().is_empty();
        if !own_line {
            return Style::OneLine;
        }
        let outer = self.indent(object.at.start);
        let step = line.strip_prefix(outer.as_str());
        let step = step.filter(|step| !step.is_empty()).unwrap_or(layout::STEP);
        Style::Lines {
            newline: self.newline(),
            outer,
            indent: line.to_owned(),
            step: step.to_owned(),
        }
    }

    /// The white space that the line of this position begins with.
    fn indent(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        let rest = line.trim_start_matches([' ', '\t']);
        line.strip_suffix(rest).unwrap_or_default().to_owned()
    }

    fn newline(&self) -> &'static str {
        if self.text.contains("\r\n") {
            "\r\n"
        } else {
            "\n"
        }
    }

    fn changed(&self, at: &Range<usize>, to: &str) -> String {
        let before = self.text.get(..at.start).unwrap_or_default();
        let after = self.text.get(at.end..).unwrap_or_default();
        format!("{before}{to}{after}")
    }
}

impl Object {
    /// The member of a name, which must not be there twice.
    fn only(&self, name: &str) -> Result<Option<&Member>, Unreadable> {
        let mut named = self.members.iter().filter(|member| member.name == name);
        let first = named.next();
        match named.next() {
            Some(_) => Err(Unreadable::Twice(name.to_owned())),
            None => Ok(first),
        }
    }
}

/// How members are laid out.
#[derive(Debug)]
enum Style {
    /// Each on lines of its own.
    Lines {
        newline: &'static str,
        /// Before the object's closing brace.
        outer: String,
        /// Before each member.
        indent: String,
        /// What a level adds.
        step: String,
    },
    /// All on one line.
    OneLine,
}

impl Style {
    /// Lines below one of this indent.
    fn below(outer: &str, newline: &'static str) -> Self {
        let step = if outer.ends_with('\t') {
            "\t"
        } else {
            layout::STEP
        };
        Self::Lines {
            newline,
            outer: outer.to_owned(),
            indent: format!("{outer}{step}"),
            step: step.to_owned(),
        }
    }

    fn member(&self, name: &str, value: &impl Serialize) -> Result<String, Unreadable> {
        let gap = match self {
            Self::Lines { .. } => " ",
            Self::OneLine => "",
        };
        let (name, value) = (Value::from(name), self.value(value)?);
        Ok(format!("{name}:{gap}{value}"))
    }

    fn value(&self, value: &impl Serialize) -> Result<String, Unreadable> {
        Ok(match self {
            Self::OneLine => serde_json::to_string(value)?,
            Self::Lines {
                newline,
                indent,
                step,
                ..
            } => {
                // No string of JSON holds a raw line break, so these are all of the layout.
                layout::pretty(value, step)?.replace('\n', &format!("{newline}{indent}"))
            }
        })
    }

    /// What begins the line of a member.
    fn line(&self) -> String {
        match self {
            Self::Lines {
                newline, indent, ..
            } => format!("{newline}{indent}"),
            Self::OneLine => String::new(),
        }
    }

    /// What begins the line of the closing brace.
    fn outer_line(&self) -> String {
        match self {
            Self::Lines { newline, outer, .. } => format!("{newline}{outer}"),
            Self::OneLine => String::new(),
        }
    }
}

/// An object's members, as they are written and in their order.
#[derive(Debug)]
struct Written<'t>(Vec<(&'t RawValue, &'t RawValue)>);

impl<'t> Deserialize<'t> for Written<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'t> Visitor<'t> for Members {
            type Value = Written<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Written<'t>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Written(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Finds an object's members; `raw` is a part of `text`.
fn object(text: &str, raw: &str, what: &'static str) -> Result<Object, Unreadable> {
    if !raw.starts_with('{') {
        return Err(Unreadable::Shape(what));
    }
    let at = |part: &str| {
        let start = part.as_ptr().addr() - text.as_ptr().addr();
        start..start + part.len()
    };
    let Written(members) = serde_json::from_str(raw)?;
    let members = members.into_iter().map(|(key, value)| {
        Ok(Member {
            name: serde_json::from_str(key.get())?,
            key: at(key.get()),
            value: at(value.get()),
        })
    });
    let members = members.collect::<Result<_, Unreadable>>()?;
    let at = at(raw);
    Ok(Object { at, members })
}

#[cfg(test)]
mod tests;
