//! What messages have an effect on: two tables in SQLite, and the record of the events that had theirs.

use std::path::Path;

use model::{Message, Outcome};
use rusqlite::{Connection, Error, ErrorCode, TransactionBehavior, params};

const SCHEMA: &str = "
-- The events that had their effect. A message with one of these ids is a repeat. Keep them for as long as messages can
-- be sent again (`callbacks replay`): as long as the events are kept.
CREATE TABLE IF NOT EXISTS handled (event_id TEXT PRIMARY KEY);
-- The effect: everything that was told, in the order in which it was handled,
CREATE TABLE IF NOT EXISTS history (number INTEGER PRIMARY KEY, event_id TEXT, subject TEXT, type TEXT, outcome TEXT);
-- and the latest verdict of each verification.
CREATE TABLE IF NOT EXISTS verifications (subject TEXT PRIMARY KEY, outcome TEXT NOT NULL, received_at TEXT NOT NULL);
";

/// The kinds that count as verdicts here. More may come: what is not in this list is kept in the history, and is no
/// verdict, whatever it may say.
const VERDICTS: [&str; 7] = [
    "verification.identomat.session-change",
    "verification.jumio.document-verification",
    "verification.jumio.netverify-authentication",
    "verification.jumio.netverify-id",
    "verification.signicat.process-status",
    "verification.verifyvasp.verification-result",
    "verification.wallet.verification",
];

/// What was done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// Its verdict is the verification's.
    Verdict(Outcome),
    /// It is kept, and says nothing that counts.
    NoVerdict,
    /// It had its effect before.
    Repeat,
}

/// The database. The effect of a message and the record of its event's id are one transaction, so a message that comes
/// again has no second effect, however this program ended meanwhile.
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

    /// Has the effect of a message, unless it had it before.
    ///
    /// # Errors
    /// If the database failed. Then there was no effect.
    pub fn handle(&mut self, message: &Message) -> Result<Handled, Error> {
        // All of it or, if it is dropped before the end, nothing.
        let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if transaction.execute("INSERT OR IGNORE INTO handled VALUES (?)", [&message.id])? == 0 {
            return Ok(Handled::Repeat);
        }
        // An outcome that this version of the model does not know is read as none.
        let is_verdict = VERDICTS.contains(&message.event_type.as_str()) && message.outcome != Outcome::None;
        let outcome = if is_verdict { message.outcome } else { Outcome::None };
        transaction.execute(
            "INSERT INTO history (event_id, subject, type, outcome) VALUES (?, ?, ?, ?)",
            params![message.id, message.subject, message.event_type, outcome.as_str()],
        )?;
        if is_verdict {
            // What comes out of the dead letters comes late: it must not replace a later verdict.
            transaction.execute(
                "INSERT INTO verifications VALUES (?, ?, ?) ON CONFLICT (subject) DO UPDATE
                 SET outcome = excluded.outcome, received_at = excluded.received_at
                 WHERE excluded.received_at >= received_at",
                // Always with milliseconds, so that their texts sort as the times do.
                params![message.subject, outcome.as_str(), format!("{:.3}", message.data.received_at)],
            )?;
        }
        transaction.commit()?;
        Ok(if is_verdict { Handled::Verdict(outcome) } else { Handled::NoVerdict })
    }
}

/// Whether the database failed, rather than refused what a message would put into it.
#[must_use]
pub fn is_database_failure(error: &Error) -> bool {
    error.sqlite_error_code() != Some(ErrorCode::ConstraintViolation)
}
