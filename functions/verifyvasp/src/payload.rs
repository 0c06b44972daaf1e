//! What a VerifyVASP enclave posts, as its Callback API document has it and as it really comes: every field may be missing. Names come
//! in camel case and in snake case, whatever the type.

use std::borrow::Cow;

use model::{
    Timestamp,
    wire::{self, Object},
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The body of a callback. `ivms101` and all else is left unread: it is personal data, and comes in many shapes. So is `message`: only
/// its digest is used.
#[derive(Debug, Deserialize)]
pub(crate) struct Callback {
    #[serde(rename = "callbackType", alias = "callback_type", default, deserialize_with = "wire::text")]
    pub(crate) callback_type: Option<String>,
    pub(crate) data: Option<Object<Data>>,
}

/// The fields of every type of callback together.
#[derive(Debug, Deserialize)]
pub(crate) struct Data {
    #[serde(rename = "verificationUuid", alias = "verification_uuid", default, deserialize_with = "wire::text")]
    pub(crate) verification_uuid: Option<String>,
    /// The reference of a verification of an account's owner.
    #[serde(rename = "requestId", alias = "request_id", default, deserialize_with = "wire::text")]
    pub(crate) request_id: Option<String>,
    #[serde(rename = "verificationResult", alias = "verification_result", default, deserialize_with = "wire::text")]
    verification_result: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    result: Option<String>,
    /// An older name, of results about owners.
    #[serde(rename = "reportedResult", alias = "reported_result", default, deserialize_with = "wire::text")]
    reported_result: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) reason: Option<String>,
    #[serde(rename = "txHash", alias = "tx_hash", default, deserialize_with = "wire::text")]
    pub(crate) tx_hash: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) vout: Option<String>,
    message: Option<Box<RawValue>>,
    /// When a result about an owner was reported.
    #[serde(rename = "resultReportedAt", alias = "result_reported_at", default, deserialize_with = "wire::time")]
    pub(crate) result_reported_at: Option<Timestamp>,
    /// When the transfer to an owner was ordered.
    #[serde(rename = "orderedAt", alias = "ordered_at", default, deserialize_with = "wire::time")]
    pub(crate) ordered_at: Option<Timestamp>,
    /// See [`RiskAssessment`].
    #[serde(rename = "riskAssessment", alias = "risk_assessment")]
    pub(crate) risk_assessment: Option<Box<RawValue>>,
}

impl Data {
    /// The verdict, which comes under a long name, a short one and an old one.
    pub(crate) fn verdict(&self) -> Option<&str> {
        self.verdicts().next()
    }

    /// Whether it comes under several names, and is not the same.
    pub(crate) fn contradicts_itself(&self) -> bool {
        self.verdicts().any(|verdict| Some(verdict) != self.verdict())
    }

    fn verdicts(&self) -> impl Iterator<Item = &str> {
        [&self.verification_result, &self.result, &self.reported_result].into_iter().filter_map(|name| name.as_deref())
    }

    /// What `message` says, however it is escaped. If it is no text, its JSON.
    pub(crate) fn message(&self) -> Option<Cow<'_, str>> {
        let json = self.message.as_ref()?.get();
        let text = serde_json::from_str::<String>(json).map_or(Cow::Borrowed(json), Cow::Owned);
        Some(text).filter(|text| !text.is_empty())
    }
}

/// What another company found out about a transfer. One of the two is there.
#[derive(Debug, Deserialize)]
pub(crate) struct RiskAssessment {
    #[serde(rename = "chainalysisKYT", alias = "chainalysis_kyt")]
    pub(crate) chainalysis_kyt: Option<Object<ChainalysisKyt>>,
    #[serde(rename = "chainalysisKYTAlerts", alias = "chainalysis_kyt_alerts", default)]
    pub(crate) chainalysis_kyt_alerts: Option<Vec<Object<Alert>>>,
    #[serde(rename = "refinitivWorldCheckOne", alias = "refinitiv_world_check_one")]
    pub(crate) refinitiv_world_check_one: Option<Object<WorldCheckOne>>,
}

/// The assessment of a wallet's address or of a transaction. Identifiers, addresses and amounts are left unread.
#[derive(Debug, Deserialize)]
pub(crate) struct ChainalysisKyt {
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) status: Option<String>,
    #[serde(rename = "alertCount", alias = "alert_count", default, deserialize_with = "wire::text")]
    pub(crate) alert_count: Option<String>,
    #[serde(rename = "assessedAt", alias = "assessed_at", default, deserialize_with = "wire::time")]
    pub(crate) assessed_at: Option<Timestamp>,
}

/// One finding of an assessment.
#[derive(Debug, Deserialize)]
pub(crate) struct Alert {
    #[serde(rename = "alertLevel", alias = "alert_level", default, deserialize_with = "wire::text")]
    pub(crate) alert_level: Option<String>,
}

/// The screening of a person. `aggregatedSummaryResult` is left unread: it is personal data.
#[derive(Debug, Deserialize)]
pub(crate) struct WorldCheckOne {
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) status: Option<String>,
    #[serde(rename = "matchStrength", alias = "match_strength", default, deserialize_with = "wire::text")]
    pub(crate) match_strength: Option<String>,
    #[serde(rename = "assessedAt", alias = "assessed_at", default, deserialize_with = "wire::time")]
    pub(crate) assessed_at: Option<Timestamp>,
}
