//! Parsing what providers send, which can differ from what they document.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    marker::PhantomData,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use crate::{Timestamp, Unrecognized};

/// Parses a JSON body, ignoring unknown fields.
///
/// # Errors
/// With a reason that quotes nothing from the body: `not_json`, or `unexpected_shape` for JSON of
/// another form.
pub fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unrecognized> {
    match serde_json::from_slice(body) {
        Ok(Object(value)) => Ok(value),
        // serde's own message could quote personal data, or a secret.
        Err(error) if error.is_data() => Err(Unrecognized::new("unexpected_shape")),
        Err(_) => Err(Unrecognized::new("not_json")),
    }
}

/// A JSON object. serde's derived structs would accept an array too, field by field.
#[derive(Debug, Clone)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// The members of a JSON object in order, with the original text of their values. A repeated name
/// appears each time.
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl Members<'_> {
    /// Whether a name is repeated: two parsers could read different values.
    #[must_use]
    pub fn has_repeats(&self) -> bool {
        let mut names = BTreeSet::new();
        !self.0.iter().all(|(name, _)| names.insert(name))
    }

    /// The [`canonical`] text of an object with these members.
    #[must_use]
    pub fn canonical(&self, is_unordered: fn(&str) -> bool) -> String {
        let mut text = String::new();
        Canonical { text: &mut text, is_unordered }.members(self, MAX_CANONICAL_DEPTH);
        text
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// Text that is borrowed if it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A field with text: a string, a number (digit by digit, because identifiers can exceed 64 bits)
/// or a boolean. Null and the empty string count as missing.
///
/// For use with `#[serde(default, deserialize_with = "wire::text")]`.
///
/// # Errors
/// If the field is an object or an array.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let text = match raw.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?,
        Some(b'{' | b'[') => return Err(serde::de::Error::custom("expected text")),
        Some(b'n') | None => String::new(),
        Some(_) => raw.get().to_owned(),
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// A time that no decision depends on: a value that is not a time counts as missing.
///
/// For use with `#[serde(default, deserialize_with = "wire::time")]`.
///
/// # Errors
/// Only if the sender's JSON cannot be read at all.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str::<String>(raw.get()).ok().and_then(|text| text.parse().ok()))
}

/// One text for all JSON texts with the same meaning. White space, escapes and the order of an
/// object's members do not count. Numbers are compared digit by digit, because identifiers can
/// exceed 64 bits. The order of an array counts, unless `is_unordered` accepts the name of its
/// member.
#[must_use]
pub fn canonical(json: &RawValue, is_unordered: fn(&str) -> bool) -> String {
    let mut text = String::with_capacity(json.get().len());
    Canonical { text: &mut text, is_unordered }.value("", json, MAX_CANONICAL_DEPTH);
    text
}

/// The depth to which [`canonical`] goes. Each level is read once more, and providers need six.
/// Deeper values stay as received.
const MAX_CANONICAL_DEPTH: usize = 32;

struct Canonical<'t> {
    text: &'t mut String,
    is_unordered: fn(&str) -> bool,
}

impl Canonical<'_> {
    /// Writes a value. An item of an array has the name of the array.
    fn value(&mut self, name: &str, json: &RawValue, depth: usize) {
        let json = json.get();
        match json.as_bytes().first() {
            Some(b'{') if depth > 0 => {
                if let Ok(members) = serde_json::from_str::<Members<'_>>(json) {
                    return self.members(&members, depth);
                }
            }
            Some(b'[') if depth > 0 => {
                if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json) {
                    return self.items(name, &items, depth);
                }
            }
            Some(b'"') if json.contains('\\') => {
                let unescaped = serde_json::from_str::<String>(json).ok();
                if let Some(escaped_alike) = unescaped.and_then(|text| serde_json::to_string(&text).ok()) {
                    return self.text.push_str(&escaped_alike);
                }
            }
            _ => {}
        }
        self.text.push_str(json);
    }

    fn members(&mut self, Members(members): &Members<'_>, depth: usize) {
        let mut members: Vec<_> = members.iter().collect();
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.text.push('{');
        for (index, (name, value)) in members.into_iter().enumerate() {
            self.comma(index);
            // Writing to a string does not fail.
            let _ = write!(self.text, "{name:?}:");
            self.value(name, value, depth - 1);
        }
        self.text.push('}');
    }

    fn items(&mut self, name: &str, items: &[&RawValue], depth: usize) {
        self.text.push('[');
        if (self.is_unordered)(name) {
            let mut texts: Vec<String> = items.iter().map(|item| self.apart(name, item, depth - 1)).collect();
            texts.sort_unstable();
            for (index, text) in texts.iter().enumerate() {
                self.comma(index);
                self.text.push_str(text);
            }
        } else {
            for (index, item) in items.iter().enumerate() {
                self.comma(index);
                self.value(name, item, depth - 1);
            }
        }
        self.text.push(']');
    }

    /// The text of a value by itself.
    fn apart(&self, name: &str, json: &RawValue, depth: usize) -> String {
        let mut text = String::new();
        Canonical { text: &mut text, is_unordered: self.is_unordered }.value(name, json, depth);
        text
    }

    fn comma(&mut self, index: usize) {
        if index > 0 {
            self.text.push(',');
        }
    }
}

/// A provider's code, unchanged. Text that is too long or has other characters could be personal
/// data, and becomes `OTHER`.
#[must_use]
pub fn code(text: &str) -> String {
    let is_code = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if is_code { text.to_owned() } else { "OTHER".to_owned() }
}

/// A form (`application/x-www-form-urlencoded`) as the text of a JSON object, without losing a key
/// or a value. A repeated key has an array. A value that is a readable JSON object or array is
/// embedded. All other values are strings. Invalid percent-encoding is unchanged, and invalid UTF-8
/// is replaced.
#[must_use]
pub fn form_as_json(body: &[u8]) -> Vec<u8> {
    let mut fields: BTreeMap<String, Vec<Box<RawValue>>> = BTreeMap::new();
    for (key, value) in form_urlencoded::parse(body) {
        let json = match value.trim_start().as_bytes().first() {
            Some(b'{' | b'[') if can_be_read_within(&value) => serde_json::from_str(&value).ok(),
            _ => None,
        };
        // A string is always JSON.
        let json = json.or_else(|| to_raw_value(&value).ok());
        fields.entry(key.into_owned()).or_default().extend(json);
    }
    let fields: BTreeMap<String, FormValue> =
        fields.into_iter().map(|(key, values)| (key, FormValue(values))).collect();
    serde_json::to_vec(&fields).unwrap_or_default()
}

/// Whether a value can be parsed in its place: in the form's object, and in the array of a repeated
/// key. Some valid JSON cannot be, because it is nested too deep or has a number out of range. One
/// such field must not prevent the parsing of the others.
fn can_be_read_within(value: &str) -> bool {
    serde_json::from_str::<Value>(&format!("[[{value}]]")).is_ok()
}

/// The values of one key.
struct FormValue(Vec<Box<RawValue>>);

impl Serialize for FormValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [value] => value.serialize(serializer),
            values => values.serialize(serializer),
        }
    }
}

/// Defines an open enum of a provider's codes: an unknown code is kept as `Other`.
///
/// ```
/// model::open_enum! {
///     /// What came of it.
///     pub enum Result {
///         /// It passed.
///         Passed = "PASSED",
///     }
/// }
/// assert_eq!(Result::from("PASSED".to_owned()), Result::Passed);
/// assert_eq!(Result::from("POSTPONED".to_owned()).as_str(), "POSTPONED");
/// ```
#[macro_export]
macro_rules! open_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $code:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(from = "String", into = "String")]
        #[non_exhaustive]
        $vis enum $name {
            $($(#[$variant_meta])* $variant,)+
            /// A code that the provider's document does not list.
            Other(String),
        }

        impl $name {
            /// The provider's code.
            #[must_use]
            $vis fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $code,)+
                    Self::Other(code) => code,
                }
            }
        }

        impl From<String> for $name {
            fn from(code: String) -> Self {
                match code.as_str() {
                    $($code => Self::$variant,)+
                    _ => Self::Other(code),
                }
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.as_str().to_owned()
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Field {
        #[serde(default, deserialize_with = "text")]
        field: Option<String>,
    }

    #[track_caller]
    fn check(json: &str, expected: Option<&str>) {
        assert_eq!(from_json::<Field>(json.as_bytes()).unwrap().field.as_deref(), expected, "{json}");
    }

    #[test]
    fn text_comes_as_string_number_or_boolean() {
        check(r#"{"field":"a\u00e9"}"#, Some("aé"));
        check(r#"{"field": 123456789012345678901234567890 }"#, Some("123456789012345678901234567890"));
        check(r#"{"field":1.50}"#, Some("1.50"));
        check(r#"{"field":true}"#, Some("true"));
        check(r#"{"field":""}"#, None);
        check(r#"{"field":null}"#, None);
        check("{}", None);
    }

    #[test]
    fn what_is_not_understood_is_not_quoted() {
        for (json, reason) in [
            (r#"{"field":["secret"]}"#, "unexpected_shape"),
            (r#"["secret"]"#, "unexpected_shape"),
            (r#"{"field":"secret"#, "not_json"),
            (r#"{"field":"\ud800"}"#, "unexpected_shape"),
            ("", "not_json"),
        ] {
            let unrecognized = from_json::<Field>(json.as_bytes()).err().unwrap();
            assert_eq!(unrecognized.reason, reason, "{json}");
        }
    }

    #[test]
    fn a_code_is_short_and_holds_no_blanks() {
        assert_eq!(code("UNKNOWN-ADDRESS"), "UNKNOWN-ADDRESS");
        assert_eq!(code("not_matched"), "not_matched");
        assert_eq!(code("Mr. Example was here"), "OTHER");
        assert_eq!(code(""), "OTHER");
        assert_eq!(code(&"A".repeat(65)), "OTHER");
    }

    #[track_caller]
    fn check_canonical(one: &str, other: &str, same: bool) {
        let canonical = |json: &str| canonical(serde_json::from_str(json).unwrap(), |name| name == "set");
        assert_eq!(canonical(one) == canonical(other), same, "{one} and {other}");
    }

    #[test]
    fn a_canonical_text_is_one_for_all_texts_that_say_the_same() {
        check_canonical(r#"{"a":1,"b":[true,null]}"#, " { \"b\" : [ true , null ] , \"a\" : 1 } ", true);
        check_canonical(r#"{"a":{"b":1,"c":"\u00e9\/"}}"#, r#"{"\u0061":{"c":"é/","b":1}}"#, true);
        check_canonical(r#"{"set":[{"a":1,"b":2},3]}"#, r#"{"set":[3,{"b":2,"a":1}]}"#, true);
        check_canonical(r#"{"list":[1,2]}"#, r#"{"list":[2,1]}"#, false);
        check_canonical(r#"{"set":[1,1]}"#, r#"{"set":[1]}"#, false);
        check_canonical(r#"{"a":"1"}"#, r#"{"a":1}"#, false);
        check_canonical(r#"{"a":"b,c"}"#, r#"{"a":"b","c":""}"#, false);
        check_canonical(r#"{"a":1}"#, r#"{"a":1,"a":2}"#, false);
    }

    #[test]
    fn a_canonical_text_keeps_every_digit_of_an_identifier() {
        check_canonical("[15952089931162059995000]", "[15952089931162059995001]", false);
        check_canonical("[1e400]", "[1e401]", false);
    }

    #[test]
    fn a_value_that_is_hard_to_read_has_a_canonical_text_too() {
        for json in [r#"{"a":"\ud800"}"#, r#"{"\ud800":1}"#, &format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000))]
        {
            check_canonical(json, json, true);
        }
    }

    #[derive(Deserialize)]
    struct Time {
        #[serde(default, deserialize_with = "time")]
        time: Option<Timestamp>,
    }

    #[test]
    fn a_time_that_is_none_counts_as_missing() {
        let seconds = |json: &str| from_json::<Time>(json.as_bytes()).unwrap().time.map(Timestamp::as_second);
        assert_eq!(seconds(r#"{"time":"1970-01-01T09:00:01.5+09:00"}"#), Some(1));
        for none in ["{}", r#"{"time":null}"#, r#"{"time":"today"}"#, r#"{"time":1}"#, r#"{"time":[{}]}"#] {
            assert_eq!(seconds(none), None, "{none}");
        }
    }

    #[track_caller]
    fn check_form(form: &[u8], expected: &str) {
        assert_eq!(String::from_utf8(form_as_json(form)).unwrap(), expected, "{}", form.escape_ascii());
    }

    #[test]
    fn a_form_loses_nothing_on_its_way_to_json() {
        check_form(b"", "{}");
        check_form(b"a=1&b=x+y%26", r#"{"a":"1","b":"x y&"}"#);
        check_form(b"a=1&a=2&a", r#"{"a":["1","2",""]}"#);
        check_form(b"a=%7B%22b%22%3A1%7D", r#"{"a":{"b":1}}"#);
        check_form(b"a=[1,2]&a=[3]", r#"{"a":[[1,2],[3]]}"#);
        check_form(b"a={broken&b=100%&c=%zz", r#"{"a":"{broken","b":"100%","c":"%zz"}"#);
        check_form(br#"a=[1e400]&b={"c":"\ud800"}&d=[1e4]"#, r#"{"a":"[1e400]","b":"{\"c\":\"\\ud800\"}","d":[1e4]}"#);
        check_form(b"=x&&%00=%FF", "{\"\":\"x\",\"\\u0000\":\"\u{fffd}\"}");
    }
}
