//! Reading what providers send rather than what they document.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;

use crate::Unrecognized;

/// Reads a JSON body, ignoring what is not asked for.
///
/// # Errors
/// With a reason that quotes nothing of the body: `not_json`, or `unexpected_shape` for JSON of another form.
pub fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unrecognized> {
    match serde_json::from_slice(body) {
        Ok(Object(value)) => Ok(value),
        // serde's own message could quote personal data, or a secret.
        Err(error) if error.is_data() => Err(Unrecognized::new("unexpected_shape")),
        Err(_) => Err(Unrecognized::new("not_json")),
    }
}

/// A JSON object. serde's derived structs would take an array too, field by field.
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

/// A field that is text, however the sender spells it: a string, a number (kept digit by digit: identifiers
/// can exceed 64 bits) or a boolean. Null and the empty string are no text.
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

/// A provider's code in one spelling: upper case, with hyphens for blanks and underscores. Text that is too long or too free
/// for a code could hold personal data and becomes `OTHER`.
#[must_use]
pub fn code(text: &str) -> String {
    let code: String =
        text.trim().chars().map(|c| if c == ' ' || c == '_' { '-' } else { c.to_ascii_uppercase() }).collect();
    let is_code = (1..=48).contains(&code.len())
        && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-');
    if is_code { code } else { "OTHER".to_owned() }
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
    fn a_code_has_one_spelling() {
        assert_eq!(code("UNKNOWN-ADDRESS"), "UNKNOWN-ADDRESS");
        assert_eq!(code(" Unknown address"), "UNKNOWN-ADDRESS");
        assert_eq!(code("not_matched"), "NOT-MATCHED");
        assert_eq!(code("Mr. Example was here"), "OTHER");
        assert_eq!(code(""), "OTHER");
        assert_eq!(code(&"A".repeat(49)), "OTHER");
    }
}
