//! The effect of messages: two tables in SQLite, and the ids of the events that were applied.

use std::path::Path;

use model::{Message, Outcome};
use rusqlite::{Connection, Error, ErrorCode, Transaction, TransactionBehavior, params};

const SCHEMA: &str = "
-- The events that were applied. A message with one of these ids is a repeat. Keep the ids for as long as the stack
-- keeps the events: until then, `callbacks replay` can send the messages again.
CREATE TABLE IF NOT EXISTS handled (event_id TEXT PRIMARY KEY);
-- The effect is two tables. One has every message, in the order in which it was handled.
CREATE TABLE IF NOT EXISTS history (number INTEGER PRIMARY KEY, event_id TEXT, subject TEXT, type TEXT, outcome TEXT);
-- The other has the latest verdict of each track of a verification.
CREATE TABLE IF NOT EXISTS verifications (
    provider TEXT NOT NULL,
    subject TEXT NOT NULL,
    track TEXT NOT NULL,
    outcome TEXT NOT NULL,
    sequence TEXT NOT NULL,
    PRIMARY KEY (provider, subject, track)
);
";

/// The kinds that count as verdicts. Later versions may add others: this consumer keeps those in the history and does
/// not act on them.
const VERDICTS: &[&str] = &[
    // made from the registrations: verdicts
    "verification.identomat.session-change",
    "verification.jumio.document-verification",
    "verification.jumio.netverify-authentication",
    "verification.jumio.netverify-id",
    "verification.onfido.check",
    "verification.onfido.workflow-run",
    "verification.persona.inquiry-status",
    "verification.signicat.process-status",
    "verification.sumsub.applicant-status",
    "verification.veriff.decision",
    "verification.veriff.session-event",
    "verification.verifyvasp.error-report",
    "verification.verifyvasp.owner-verification-result-report",
    "verification.verifyvasp.verification-result",
    "verification.wallet.issuance",
    "verification.wallet.verification",
    // up to here
];

/// What was done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// Its verdict is now the verdict of its track.
    Verdict(Outcome),
    /// The verdict of its track is newer, and stays.
    Superseded,
    /// It is in the history. It has no verdict that counts.
    NoVerdict,
    /// It was applied before.
    Repeat,
}

/// The database. One transaction writes the effect of a message and its event's id. So a message that comes again has
/// no second effect, even if this program was killed meanwhile.
#[derive(Debug)]
pub struct Inbox {
    database: Connection,
}

impl Inbox {
    /// Opens the database in this file.
    ///
    /// # Errors
    /// If it cannot be written to.
    pub fn open(file: &Path) -> Result<Self, Error> {
        let database = Connection::open(file)?;
        database.execute_batch(SCHEMA)?;
        Ok(Self { database })
    }

    /// Applies a message unless it was applied before.
    ///
    /// # Errors
    /// If the database failed. Then the message has no effect.
    pub fn handle(&mut self, message: &Message) -> Result<Handled, Error> {
        // Rolls back if it is dropped before the commit.
        let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if transaction.execute("INSERT OR IGNORE INTO handled VALUES (?)", [&message.id])? == 0 {
            return Ok(Handled::Repeat);
        }
        // The model reads an outcome that it does not know as none.
        let is_verdict = VERDICTS.contains(&message.event_type.as_str()) && message.outcome != Outcome::None;
        let outcome = if is_verdict { message.outcome } else { Outcome::None };
        transaction.execute(
            "INSERT INTO history (event_id, subject, type, outcome) VALUES (?, ?, ?, ?)",
            params![message.id, message.subject, message.event_type, outcome.as_str()],
        )?;
        let handled = if is_verdict { store(&transaction, message)? } else { Handled::NoVerdict };
        transaction.commit()?;
        Ok(handled)
    }
}

/// Stores the verdict of a track, unless the stored one is newer.
fn store(transaction: &Transaction<'_>, message: &Message) -> Result<Handled, Error> {
    // A message from the dead letters comes after newer ones of its track. It must not replace their verdict. All
    // sequences have 16 digits, so they compare as texts.
    let stored = transaction.execute(
        "INSERT INTO verifications (provider, subject, track, outcome, sequence) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (provider, subject, track) DO UPDATE
         SET outcome = excluded.outcome, sequence = excluded.sequence WHERE excluded.sequence > sequence",
        params![message.data.provider, message.subject, message.data.track, message.outcome.as_str(), message.sequence],
    )?;
    Ok(if stored == 1 { Handled::Verdict(message.outcome) } else { Handled::Superseded })
}

/// Whether the database failed, rather than refused what a message would put into it.
#[must_use]
pub fn is_database_failure(error: &Error) -> bool {
    error.sqlite_error_code() != Some(ErrorCode::ConstraintViolation)
}
