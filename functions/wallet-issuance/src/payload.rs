//! What the wallet gateway posts about an issuance.

use model::wire;
use serde::Deserialize;

/// The body of a callback: one credential. The code is gone already, and the state was compared with the announced one.
#[derive(Debug, Deserialize)]
pub(crate) struct Callback {
    /// A number here, where the verification's callback has strings.
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) template_id: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) status: Option<String>,
    /// Whether gateway and wallet are done with each other.
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) completed: Option<String>,
}
