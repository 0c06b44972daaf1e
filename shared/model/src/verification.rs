//! Where a verification stands, as `GET /verifications/{provider}/{subject}` returns it.

use serde::Serialize;

use crate::{Course, Outcome, Standing, Timestamp, stored::milliseconds};

/// Where a verification stands, and its messages. Has no payloads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verification {
    /// The provider's name.
    pub provider: String,
    /// The provider's reference of the verification.
    pub subject: String,
    /// Each of its tracks, by name.
    pub verifications: Vec<TrackStanding>,
    /// The published messages, in the order of receipt.
    pub events: Vec<PublishedEvent>,
}

/// Where one track stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrackStanding {
    /// The track's name.
    pub track: String,
    /// The verdict; `none` if there is none yet.
    pub outcome: Outcome,
    /// Whether the verdict is final.
    pub r#final: bool,
    /// The provider's codes for it.
    pub reasons: Vec<String>,
    /// The id of the event it rests on.
    pub event: String,
    /// When the track's first callback was received.
    #[serde(serialize_with = "milliseconds")]
    pub first_received_at: Timestamp,
    /// When that event was received.
    #[serde(serialize_with = "milliseconds")]
    pub received_at: Timestamp,
    /// How many callbacks were recorded, repeats included.
    pub callbacks: u64,
    /// Whether there are final verdicts that differ.
    pub conflict: bool,
}

/// One published message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PublishedEvent {
    /// The event's id, and the message's.
    pub id: String,
    /// The message's type.
    pub r#type: String,
    /// The track.
    pub track: String,
    /// The verdict that was published.
    pub outcome: Outcome,
    /// The callback's own verdict, if it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported_outcome: Option<Outcome>,
    /// The message's place among those of its track.
    pub sequence: String,
    /// When the callback was received.
    #[serde(serialize_with = "milliseconds")]
    pub received_at: Timestamp,
    /// Whether the same content was received before.
    pub repeated: bool,
    /// Whether it arrived too late to change anything.
    pub late: bool,
    /// Whether the track then had final verdicts that differ.
    pub conflict: bool,
}

impl Verification {
    /// Where a verification with these courses, by the names of their tracks, stands at this time.
    /// None if there are no courses.
    #[must_use]
    pub fn new(provider: &str, subject: &str, courses: &[(String, Course)], now: Timestamp) -> Option<Self> {
        let verifications: Vec<TrackStanding> =
            courses.iter().filter_map(|(track, course)| TrackStanding::of(track, course, now)).collect();
        if verifications.is_empty() {
            return None;
        }
        let mut events: Vec<PublishedEvent> =
            courses.iter().flat_map(|(track, course)| published(track, course)).collect();
        events.sort_by(|one, other| (one.received_at, &one.sequence).cmp(&(other.received_at, &other.sequence)));
        Some(Self { provider: provider.to_owned(), subject: subject.to_owned(), verifications, events })
    }
}

impl TrackStanding {
    fn of(track: &str, course: &Course, now: Timestamp) -> Option<Self> {
        let Standing { outcome, is_final, conflict, decision } = course.standing(now);
        let decision = decision?;
        Some(Self {
            track: track.to_owned(),
            outcome,
            r#final: is_final,
            reasons: decision.reasons.clone(),
            event: decision.id.clone(),
            first_received_at: course.first_received_at.unwrap_or(decision.received_at),
            received_at: decision.received_at,
            callbacks: course.callbacks,
            conflict,
        })
    }
}

fn published<'a>(track: &'a str, course: &'a Course) -> impl Iterator<Item = PublishedEvent> + 'a {
    course.decisions.iter().filter_map(move |decision| {
        let published = decision.published.as_ref()?;
        Some(PublishedEvent {
            id: decision.id.clone(),
            r#type: format!("verification.{}", decision.kind),
            track: track.to_owned(),
            outcome: published.outcome,
            reported_outcome: Some(decision.own_outcome()).filter(|own| *own != published.outcome),
            sequence: published.sequence_text(),
            received_at: decision.received_at,
            repeated: published.repeated,
            late: published.late,
            conflict: published.conflict,
        })
    })
}
