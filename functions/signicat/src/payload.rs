//! What Signicat's Assure API posts.

use model::wire;
use serde::Deserialize;

/// The body of a notification: which process of which dossier has which status.
#[derive(Debug, Deserialize)]
pub(crate) struct Notification {
    #[serde(rename = "dossierId", default, deserialize_with = "wire::text")]
    pub(crate) dossier_id: Option<String>,
    #[serde(rename = "processId", default, deserialize_with = "wire::text")]
    pub(crate) process_id: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) status: Option<String>,
}
