//! Callbacks as the gateway hands them over: files of events/.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use model::{Expectation, InvalidSubject, Purpose, Request, Subject};
use runtime::GatewayRequest;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{issuer::Issuer, now};

/// A callback whose event is measured, and what had to be expected for it.
pub struct Callback {
    /// The gateway's event, as JSON.
    pub event: Vec<u8>,
    /// What was announced before it.
    pub expected: Option<Expectation>,
}

/// How a callback is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    /// It is stored. Whether it is a repeat makes no difference.
    Fresh,
    /// It is not authentic.
    Refused,
    /// It is authentic, and not understood.
    Unrecognized,
}

/// What a file of the wallet gateway's says beside the event.
#[derive(Default, Deserialize)]
struct Preparation {
    announce: Option<Announcement>,
    #[serde(default)]
    tokens: Map<String, Value>,
}

#[derive(Deserialize)]
struct Announcement {
    purpose: Purpose,
    code: String,
    state: Option<String>,
    #[serde(default)]
    template_ids: Vec<String>,
}

impl Callback {
    /// A callback for this function that is received so, from events/, with tokens signed by this issuer.
    ///
    /// # Errors
    /// If there is none.
    pub fn of(function: &str, reception: Reception, issuer: &Issuer) -> anyhow::Result<Self> {
        let (understood, refused, unrecognized) = match function {
            "identomat" => ("session-change-approved", "refused-wrong-key", "unknown-type"),
            "jumio" => ("netverify-approved", "refused-wrong-secret", "unknown-type"),
            "signicat" => ("accepted", "refused-wrong-header", "unknown-status"),
            "verifyvasp" => ("verification-result-verified", "refused-wrong-token", "unknown-type"),
            "wallet-issuance" => ("issued", "refused-unknown-code", "missing-status"),
            "wallet-verification" => ("approved", "refused-unknown-code", "no-tokens"),
            // Those above are named because their counts are in baseline.json.
            _ => return Self::from_file(first(function, reception)?, issuer),
        };
        let name = match reception {
            Reception::Fresh => understood,
            Reception::Refused => refused,
            Reception::Unrecognized => unrecognized,
        };
        Self::from_file(read(function, name)?, issuer)
    }

    /// A callback of the wallet gateway with a portrait, of 2 MB in all.
    ///
    /// # Errors
    /// If there is no callback to put it into.
    pub fn with_portrait(issuer: &Issuer) -> anyhow::Result<Self> {
        let mut file = read("wallet-verification", "approved")?;
        let claims = file.get_mut("wallet").and_then(|wallet| wallet.pointer_mut("/tokens/1/claims"));
        let claims = claims.and_then(Value::as_object_mut).context("the callback has no claims")?;
        // A token is in base64, which has four characters for three bytes.
        claims.insert("portrait".to_owned(), "A".repeat(1_500_000).into());
        Self::from_file(file, issuer)
    }

    fn from_file(mut event: Map<String, Value>, issuer: &Issuer) -> anyhow::Result<Self> {
        let preparation = event.remove("wallet").map(Preparation::deserialize).transpose()?.unwrap_or_default();
        event.remove("expect");
        if let Some(Value::String(body)) = event.get_mut("body") {
            for (name, token) in &preparation.tokens {
                let signed = issuer.sign(token.get("claims").unwrap_or(&json!({})))?;
                *body = body.replace(&format!("<token {name}>"), &signed);
            }
        }
        let expected = preparation.announce.map(|Announcement { purpose, code, state, template_ids }| {
            let expectation = Expectation::new(&code, purpose, Subject::new("announced-without-a-state")?, now());
            Ok::<_, InvalidSubject>(expectation.with_state(state)?.with_template_ids(template_ids))
        });
        Ok(Self { event: serde_json::to_vec(&event)?, expected: expected.transpose()? })
    }

    /// The callback as the model takes it.
    ///
    /// # Errors
    /// If it is none.
    pub fn request(&self) -> anyhow::Result<Request> {
        Ok(Request::try_from(serde_json::from_slice::<GatewayRequest>(&self.event)?)?)
    }
}

/// The first sample of a function, by name, that is received so. A fresh one is an approval.
fn first(function: &str, reception: Reception) -> anyhow::Result<Map<String, Value>> {
    let folder = std::fs::read_dir(events(function)).with_context(|| format!("there is no function {function}"))?;
    let mut names = folder.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    for name in names.iter().filter_map(|path| path.file_stem()?.to_str()) {
        let file = read(function, name)?;
        let expected = |pointer: &str| file.get("expect").and_then(|expect| expect.pointer(pointer));
        let is_received_so = match reception {
            Reception::Fresh => expected("/event/outcome").is_some_and(|outcome| outcome == "approved"),
            Reception::Refused => expected("/status").is_some_and(|status| status == 401 || status == 403),
            Reception::Unrecognized => expected("/event/unrecognized").is_some(),
        };
        if is_received_so {
            return Ok(file);
        }
    }
    bail!("no sample of {function} is received as {reception:?}")
}

fn events(function: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events").join(function)
}

fn read(function: &str, name: &str) -> anyhow::Result<Map<String, Value>> {
    let file = events(function).join(name).with_extension("json");
    let text = std::fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no event", file.display()))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;

    use super::*;

    #[test]
    fn a_callback_with_a_portrait_has_2_mb() {
        let issuer = Issuer::new(Algorithm::EdDSA).unwrap();
        let bytes = Callback::with_portrait(&issuer).unwrap().request().unwrap().body.len();
        assert!((1_990_000..2_010_000).contains(&bytes), "{bytes}");
    }
}
