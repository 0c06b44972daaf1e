//! Reading the verifications table: what was decided about events.

use anyhow::Context as _;
use model::{Course, CourseKey, Courses as _, Decision, StoredEvent};
use runtime::DynamoCourses;

use crate::events::{Events, is_unreadable};

/// Why an event is skipped whose row cannot be read.
const UNREADABLE: &str = "this version cannot read the row of its track";

/// The row of each of these events' tracks; an empty one where there is none. An event whose row this version cannot read
/// is skipped.
pub(crate) async fn with_rows(
    courses: &DynamoCourses,
    events: &Events,
    selected: Vec<StoredEvent>,
) -> anyhow::Result<Vec<(StoredEvent, Course)>> {
    let keys: Vec<CourseKey> = selected.iter().map(CourseKey::of).collect();
    match courses.read(&keys).await {
        Ok(rows) => return Ok(selected.into_iter().zip(rows).collect()),
        Err(error) if is_unreadable(&error) => {}
        Err(error) => return Err(error).context("failed to read the verifications table"),
    }
    // Which of them it is, is not said.
    let mut found = Vec::new();
    for (event, key) in selected.into_iter().zip(keys) {
        match courses.read(std::slice::from_ref(&key)).await {
            Ok(rows) => found.push((event, rows.into_iter().next().unwrap_or_default())),
            Err(error) if is_unreadable(&error) => events.skip(&event.id, UNREADABLE),
            Err(error) => return Err(error).context("failed to read the verifications table"),
        }
    }
    Ok(found)
}

/// What a row says of an event, if it holds it.
pub(crate) fn decision_about(event: &StoredEvent, row: Course) -> Option<Decision> {
    row.decisions.into_iter().find(|decision| decision.id == event.id)
}
