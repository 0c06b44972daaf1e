//! What the wallet gateway posts about a verification.

use std::collections::BTreeMap;

use model::{
    Unrecognized,
    wire::{self, Members, Object},
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// More credentials than any request asks for.
const MAX_CREDENTIALS: usize = 64;

/// Far longer than any template's id.
const MAX_TEMPLATE_ID_BYTES: usize = 64;

/// The body of a callback. The code is gone already, and the state was compared with the announced one.
#[derive(Debug)]
pub struct Callback {
    /// What came of each credential, by its template's id.
    pub credentials: BTreeMap<String, Credential>,
}

/// One credential.
#[derive(Debug, Deserialize)]
pub struct Credential {
    /// The gateway's token about it.
    #[serde(default, deserialize_with = "wire::text")]
    pub token: Option<String>,
    /// `COMPLETED`, or why not.
    #[serde(default, deserialize_with = "wire::text")]
    pub status: Option<String>,
}

impl Credential {
    /// Whether the gateway says that its verification is complete. Only then does its token count.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.status.as_deref() == Some("COMPLETED")
    }
}

impl Callback {
    /// Reads a callback.
    ///
    /// # Errors
    /// If there are no credentials in it, or too many, or one twice.
    pub fn read(body: &[u8]) -> Result<Self, Unrecognized> {
        #[derive(Deserialize)]
        struct Body {
            tokens: Option<Box<RawValue>>,
        }
        let Body { tokens } = wire::from_json(body)?;
        let tokens = tokens.ok_or_else(|| Unrecognized::missing("tokens"))?;
        let unexpected = |_| Unrecognized::new("unexpected_shape");
        let members: Members<'_> = serde_json::from_str(tokens.get()).map_err(unexpected)?;
        if members.has_repeats() {
            return Err(Unrecognized::new("repeated:tokens"));
        }
        match members.0.len() {
            0 => Err(Unrecognized::missing("tokens")),
            1..=MAX_CREDENTIALS => {
                let credential = |(id, json): (std::borrow::Cow<'_, str>, &RawValue)| {
                    // It becomes a name in the item, and the table takes none that is empty.
                    if id.is_empty() {
                        return Err(Unrecognized::missing("template_id"));
                    }
                    // It goes into the item several times, beside a body that fills it.
                    if id.len() > MAX_TEMPLATE_ID_BYTES {
                        return Err(Unrecognized::new("too_large:template_id"));
                    }
                    let Object(credential) = serde_json::from_str(json.get()).map_err(unexpected)?;
                    Ok((String::from(id), credential))
                };
                let credentials = members.0.into_iter().map(credential).collect::<Result<_, _>>()?;
                Ok(Self { credentials })
            }
            _ => Err(Unrecognized::new("too_many:tokens")),
        }
    }
}
