//! What comes with a request: the fields of an address or a form.

use crate::{parsers, selection, selection::Selection};

/// The fields of an address or a form, in their order.
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The fields of an address, and then those of a form. What others wrote is in addresses:
    /// browsers change line breaks in a form.
    pub(super) fn of(query: Option<String>, form: &[u8]) -> Self {
        let Self(mut fields) = Self::parse(query.unwrap_or_default().as_bytes());
        fields.extend(Self::parse(form).0);
        Self(fields)
    }

    /// A field's value, unless it is empty: a form sends the fields that were left empty, too.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|(known, _)| known == name);
        field.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of a field that has to be there.
    ///
    /// # Errors
    /// If it is not.
    pub(super) fn need(&self, name: &str) -> Result<&str, String> {
        self.get(name).ok_or_else(|| format!("the request has no {name}"))
    }

    /// Which events are meant, in the words of the commands.
    ///
    /// # Errors
    /// If a field is not understood.
    pub(super) fn selection(&self) -> Result<Selection, String> {
        // A subject is taken as it is: a provider's reference may begin with a space.
        let typed = |name| self.get(name).map(str::trim);
        Ok(Selection {
            since: typed("since").map(selection::time).transpose()?,
            until: typed("until").map(selection::time).transpose()?,
            subject: self.get("subject").map(str::to_owned),
            provider: typed("provider").map(parsers::provider).transpose()?,
            kind: typed("kind").map(parsers::kind).transpose()?,
            outcome: typed("outcome").map(selection::outcome).transpose()?,
        })
    }

    /// Those of [`SELECTING`] that are there, as they were given: `2h` stays `2h` in an address.
    pub(super) fn selecting(&self) -> Vec<(&'static str, &str)> {
        SELECTING.iter().filter_map(|name| Some((*name, self.get(name)?))).collect()
    }
}

/// The fields that select events.
pub(super) const SELECTING: [&str; 6] = ["provider", "kind", "outcome", "since", "until", "subject"];

/// An address of the console: a path, and fields.
pub(super) fn address<'a>(path: &str, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(fields);
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}
