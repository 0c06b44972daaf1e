//! The published message: a [CloudEvents
//! 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md) event in JSON.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, IntoDeserializer as _, value::StringDeserializer},
};
use serde_json::{Value, value::RawValue};

use crate::{
    Assurance, Details, Outcome, Published, StoredEvent, Timestamp,
    event::{Identity, hex},
    stored::{is_false, milliseconds},
};

/// How much of a callback its message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MessageDetail {
    /// The verdict, references and codes. The payload stays in the table.
    #[default]
    Reference,
    /// The payload too, with its personal data.
    Full,
}

impl std::str::FromStr for MessageDetail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "reference" => Ok(Self::Reference),
            "full" => Ok(Self::Full),
            other => Err(format!("{other:?} is neither \"reference\" nor \"full\"")),
        }
    }
}

/// One message. The attributes hold no personal data; of the data, only a delivery's details do, which say what to send to whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Message {
    /// Always `1.0`.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "1.0")))]
    pub specversion: String,
    /// The event's id. The same message sent again has the same id.
    pub id: String,
    /// The callback's route, such as `/callbacks/verifyvasp`.
    pub source: String,
    /// `verification.` and the kind, such as `verification.verifyvasp.tx-report`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The provider's reference of the verification.
    pub subject: String,
    /// The provider's own time, or else the time of receipt.
    #[serde(serialize_with = "milliseconds")]
    pub time: Timestamp,
    /// When the password or link in it expires, for a delivery (an [extension](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/expirytime.md)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expirytime: Option<Timestamp>,
    /// The trace of the callback's request, if it was traced (an [extension](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Always `application/json`.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "application/json")))]
    pub datacontenttype: String,
    /// The message's place among those of its track (an [extension](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/sequence.md)):
    /// 16 digits, which rise with each. Ignore a verdict whose sequence is not above that of the verdict you hold.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[0-9]{16}$")))]
    pub sequence: String,
    /// The verdict (an extension attribute). One that this version does not know is read as [`Outcome::None`]: no verdict.
    #[serde(deserialize_with = "none_if_unknown")]
    #[cfg_attr(feature = "schema", schemars(description = "The verdict."))]
    pub outcome: Outcome,
    /// How the callback is known to be authentic (an extension attribute). One that this version does not know is read as `None`.
    #[serde(default, deserialize_with = "if_known", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Assurance", description = "How the callback is known to be authentic.")
    )]
    pub assurance: Option<Assurance>,
    /// The rest.
    pub data: MessageData,
}

/// The content of a [`Message`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MessageData {
    /// The provider.
    pub provider: String,
    /// The track of the verification that the verdict is about. A verification with several has a verdict for each.
    pub track: String,
    /// The provider's codes for the callback's own verdict.
    pub reasons: Vec<String>,
    /// Where the track stood before; absent if it had no verdict.
    #[serde(default, deserialize_with = "if_known", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Outcome", description = "Where the track stood before; absent if it had no verdict.")
    )]
    pub previous_outcome: Option<Outcome>,
    /// The callback's own verdict; absent if `outcome` is the same.
    #[serde(default, deserialize_with = "if_known", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Outcome", description = "The callback's own verdict; absent if `outcome` is the same.")
    )]
    pub reported_outcome: Option<Outcome>,
    /// The same content was received before: it may be a new decision, or a late copy. Absent if not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub repeated: bool,
    /// The callback arrived too late to change anything; `outcome` is `none`. Absent if not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub late: bool,
    /// There are final verdicts that differ. Absent if not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub conflict: bool,
    /// When the callback was received.
    #[serde(serialize_with = "milliseconds")]
    pub received_at: Timestamp,
    /// Why the callback was not understood, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unrecognized: Option<String>,
    /// References and codes, by the provider's kind.
    #[cfg_attr(feature = "schema", schemars(extend("properties" = {
        PAYLOAD_OMITTED: { "const": true, "description": "There is a payload, and it is too large for the message." }
    })))]
    pub details: Details,
    /// The callback's body as received, if it is JSON and `MessageDetail` is `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Value>"))]
    pub payload: Option<Box<RawValue>>,
    /// The callback's body as text, if it is not JSON and `MessageDetail` is `full`. Bytes that are
    /// not UTF-8 are replaced; the table has the original.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_text: Option<String>,
}

/// The one detail that every kind may have.
const PAYLOAD_OMITTED: &str = "payload_omitted";

impl Message {
    /// The message of an event, with the decision on it.
    #[must_use]
    pub fn new(event: &StoredEvent, published: &Published, detail: MessageDetail) -> Self {
        let (payload, payload_text) = match detail {
            // A perishable payload stays in the table, where it expires.
            _ if event.perishable => (None, None),
            _ if event.is_erased() => (None, None),
            _ if event.parts.is_some() => (None, None),
            MessageDetail::Reference => (None, None),
            MessageDetail::Full => match serde_json::from_slice::<Box<RawValue>>(&event.body) {
                Ok(json) => (Some(json), None),
                Err(_) => (None, Some(String::from_utf8_lossy(&event.body).into_owned())),
            },
        };
        let message = Self {
            specversion: "1.0".to_owned(),
            id: event.id.clone(),
            source: event.source.clone(),
            event_type: format!("verification.{}", event.kind),
            subject: event.subject.clone(),
            time: event.occurred_at.unwrap_or(event.received_at),
            expirytime: event.is_delivery().then(|| Timestamp::from_second(event.expires_at).ok()).flatten(),
            traceparent: event.traceparent.clone(),
            datacontenttype: "application/json".to_owned(),
            sequence: published.sequence_text(),
            outcome: published.outcome,
            assurance: Some(event.assurance),
            data: MessageData {
                provider: event.provider.clone(),
                track: event.track.clone(),
                reasons: event.reasons_without(&published.reused),
                previous_outcome: published.previous,
                reported_outcome: Some(event.outcome).filter(|own| *own != published.outcome),
                repeated: published.repeated,
                late: published.late,
                conflict: published.conflict,
                received_at: event.received_at,
                unrecognized: event.unrecognized.clone(),
                details: event.details_without(&published.reused),
                payload,
                payload_text,
            },
        };
        // A body in parts is not available here, and is too large for a message.
        if detail == MessageDetail::Full && event.parts.is_some() { message.without_payload() } else { message }
    }

    /// The callback's own verdict, before any decision.
    #[must_use]
    pub fn own_outcome(&self) -> Outcome {
        self.data.reported_outcome.unwrap_or(self.outcome)
    }

    /// Provider and kind, such as `verifyvasp.tx-report`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.event_type.strip_prefix("verification.").unwrap_or(&self.event_type)
    }

    /// The message without the callback's payload, for a payload that is too large.
    #[must_use]
    pub fn without_payload(mut self) -> Self {
        self.data.payload = None;
        self.data.payload_text = None;
        self.data.details.insert(PAYLOAD_OMITTED.to_owned(), Value::Bool(true));
        self
    }

    /// The message's group in the FIFO queue: the subject, or its digest if SQS does not accept the
    /// subject as a group (1 to 128 ASCII letters, digits and punctuation marks).
    #[must_use]
    pub fn group_id(&self) -> String {
        let fits = self.subject.len() <= 128 && self.subject.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { self.subject.clone() } else { hex(Identity::of_bytes(self.subject.as_bytes()).as_bytes()) }
    }
}

/// A word that a later version may have added. An older consumer must still be able to read the
/// message.
fn if_known<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let word: StringDeserializer<D::Error> = String::deserialize(deserializer)?.into_deserializer();
    Ok(T::deserialize(word).ok())
}

fn none_if_unknown<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Outcome, D::Error> {
    Ok(if_known(deserializer)?.unwrap_or(Outcome::None))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_of_a_later_version_is_read_with_what_is_known_of_it() {
        let mut message = json!({
            "specversion": "1.0", "id": "0", "source": "/callbacks/new", "type": "verification.new.kind", "subject": "s",
            "time": "2026-01-31T00:00:00.000Z", "datacontenttype": "application/json",
            "sequence": "0001769817600000", "outcome": "approved", "assurance": "signed_token",
            "data": { "provider": "new", "track": "kind", "reasons": [], "received_at": "2026-01-31T00:00:00.000Z", "details": {} },
        });
        let read = |message: &serde_json::Value| serde_json::from_value::<Message>(message.clone()).unwrap();
        let known = read(&message);
        assert_eq!((known.outcome, known.assurance), (Outcome::Approved, Some(Assurance::SignedToken)));
        assert_eq!(serde_json::to_value(&known).unwrap(), message);

        (message["outcome"], message["assurance"], message["new"]) = (json!("paused"), json!("oracle"), json!({}));
        let unknown = read(&message);
        assert_eq!((unknown.outcome, unknown.assurance), (Outcome::None, None));
    }
}
