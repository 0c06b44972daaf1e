//! What the providers answer, in the form of their documents and with invented data.

use serde_json::{Map, Value, json};

use super::stand_in::Scenario;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Jumio: whether a scan is finished.
    Scan,
    /// Jumio: the details of a scan.
    ScanData,
    /// Jumio: an authentication.
    Authentication,
    /// Jumio: whether a document is finished.
    Document,
    /// Jumio: the details of a document.
    DocumentData,
    /// Signicat: a process.
    Process,
    /// Identomat: the result of a session.
    Session,
    /// VerifyVASP: a verification.
    Verification,
}

impl Part {
    /// Whether it is asked until there is a verdict. Details are asked for once, after that.
    pub(super) fn asks_for_verdict(self) -> bool {
        !matches!(self, Self::ScanData | Self::DocumentData)
    }
}

/// When everything happens.
const TIME: &str = "2026-01-31T09:30:00.125Z";

/// The answer in a scenario, if the provider has one: without one, the verification is not found.
pub(super) fn of(part: Part, subject: &str, scenario: Scenario) -> Option<Value> {
    match part {
        Part::Scan => scan(subject, scenario),
        Part::ScanData => scan_data(subject, scenario),
        Part::Authentication => authentication(subject, scenario),
        Part::Document => document(subject, scenario),
        Part::DocumentData => document_data(subject, scenario),
        Part::Process => process(subject, scenario),
        Part::Session => session(scenario),
        Part::Verification => verification(subject, scenario),
    }
}

fn scan(subject: &str, scenario: Scenario) -> Option<Value> {
    let status = match scenario {
        Scenario::Approved | Scenario::Rejected | Scenario::Contradictory | Scenario::NewVerdict => "DONE",
        Scenario::Failed => "FAILED",
        Scenario::Pending => "PENDING",
        _ => return None,
    };
    Some(json!({ "timestamp": TIME, "scanReference": subject, "status": status }))
}

fn scan_data(subject: &str, scenario: Scenario) -> Option<Value> {
    let person = json!({ "similarity": "MATCH", "validity": "TRUE" });
    let (status, verification) = match scenario {
        Scenario::Approved => ("APPROVED_VERIFIED", json!({ "mrzCheck": "OK", "identityVerification": person })),
        Scenario::Contradictory => {
            let other_person = json!({ "similarity": "NO_MATCH", "validity": "TRUE" });
            ("APPROVED_VERIFIED", json!({ "mrzCheck": "OK", "identityVerification": other_person }))
        }
        Scenario::Rejected => {
            let details = json!([{ "detailsCode": "1001", "detailsDescription": "PHOTO" }]);
            let reason = json!({
                "rejectReasonCode": "100", "rejectReasonDescription": "MANIPULATED_DOCUMENT",
                "rejectReasonDetails": details,
            });
            ("DENIED_FRAUD", json!({ "mrzCheck": "NOT_AVAILABLE", "rejectReason": reason }))
        }
        Scenario::Failed => ("NO_ID_UPLOADED", json!({})),
        Scenario::NewVerdict => ("APPROVED_PROVISIONALLY", json!({ "identityVerification": person })),
        _ => return None,
    };
    let transaction_status = if scenario == Scenario::Failed { "FAILED" } else { "DONE" };
    let mut document = json!({
        "status": status, "type": "PASSPORT", "idSubtype": "E_PASSPORT", "issuingCountry": "AUT",
        "firstName": "ERIKA", "lastName": "EXAMPLE", "dob": "1990-01-01", "expiry": "2032-12-31", "number": "X0000000",
    });
    if scenario == Scenario::Failed {
        document = json!({ "status": status });
    }
    Some(json!({
        "timestamp": TIME, "scanReference": subject, "document": document, "verification": verification,
        "transaction": {
            "status": transaction_status, "source": "WEB_UPLOAD", "date": TIME, "clientIp": "192.0.2.7",
            "customerId": "customer-1", "merchantScanReference": "order-1", "merchantReportingCriteria": "web",
        },
    }))
}

fn authentication(subject: &str, scenario: Scenario) -> Option<Value> {
    let result = match scenario {
        Scenario::Approved | Scenario::Contradictory => "PASSED",
        Scenario::Rejected => "FAILED",
        Scenario::Failed => "EXPIRED",
        Scenario::Pending => "STARTED",
        Scenario::NewVerdict => "PASSED_PROVISIONALLY",
        _ => return None,
    };
    let mut answer = json!({
        "transactionReference": subject, "enrollmentTransactionReference": "00000000-0000-4000-8000-000000000001",
        "transactionResult": result, "scanSource": "SDK", "transactionDate": "2026-01-31T09:30:00.534",
        "userReference": "user-1", "images": [], "livenessImages": [],
    });
    if scenario == Scenario::Contradictory {
        add(&mut answer, "rejectReason", json!({ "rejectReasonCode": "100" }));
    }
    Some(answer)
}

fn document(subject: &str, scenario: Scenario) -> Option<Value> {
    let status = match scenario {
        Scenario::Approved | Scenario::Rejected | Scenario::NewVerdict => "DONE",
        Scenario::Failed | Scenario::Contradictory => "FAILED",
        // There is no word for a document that is not finished.
        _ => return None,
    };
    Some(json!({ "timestamp": TIME, "scanReference": subject, "status": status }))
}

fn document_data(subject: &str, scenario: Scenario) -> Option<Value> {
    let (transaction_status, document_status) = match scenario {
        Scenario::Approved | Scenario::Contradictory => ("DONE", "EXTRACTED"),
        Scenario::Rejected => ("DONE", "DISCARDED"),
        Scenario::NewVerdict => ("DONE", "ARCHIVED"),
        Scenario::Failed => ("FAILED", "DISCARDED"),
        _ => return None,
    };
    let mut document = json!({ "status": document_status, "type": "BS", "country": "USA" });
    if document_status == "EXTRACTED" {
        // Jumio has JSON within a string here.
        let extracted = json!({ "city": "VIENNA", "accountNumber": "0000000000" }).to_string();
        let extracted =
            json!({ "firstName": "ERIKA EXAMPLE", "signatureAvailable": false, "extractedData": extracted });
        add(&mut document, "extractedData", extracted);
    }
    Some(json!({
        "timestamp": TIME, "scanReference": subject, "document": document,
        "transaction": {
            "status": transaction_status, "merchantScanReference": "order-1", "customerId": "customer-1",
            "source": "DOC_UPLOAD",
        },
    }))
}

fn process(subject: &str, scenario: Scenario) -> Option<Value> {
    let status = match scenario {
        Scenario::Approved => "accepted",
        Scenario::Rejected => "rejected",
        Scenario::Review => "inconclusive",
        Scenario::Failed => "failed",
        Scenario::Pending => "pending",
        Scenario::NewVerdict => "accepted_provisionally",
        _ => return None,
    };
    let mut answer = json!({
        "processId": subject, "provider": "signicatvideoid", "processType": "substantial", "status": status,
        "createdAt": "2026-01-31T09:30:00Z", "updatedAt": "2026-01-31T09:31:40Z",
    });
    if scenario == Scenario::Approved {
        add(
            &mut answer,
            "finalResult",
            json!({
                "firstName": "ERIKA", "lastName": "EXAMPLE", "dateOfBirth": "1990-01-01", "dateOfExpiry": "2032-12-31",
                "gender": "F", "nationality": "AUT", "documentType": "passport", "documentNumber": "X0000000",
                "issuingCountry": "AUT",
            }),
        );
    }
    Some(answer)
}

fn session(scenario: Scenario) -> Option<Value> {
    let (result, reject_reason) = match scenario {
        Scenario::Approved => ("approved", ""),
        Scenario::Contradictory => ("approved", "face_mismatch"),
        Scenario::Rejected => ("rejected", "face_mismatch"),
        Scenario::Review => ("manual_check", ""),
        Scenario::Pending => ("in_progress", ""),
        Scenario::NewVerdict => ("approved_provisionally", ""),
        _ => return None,
    };
    Some(json!({
        "result": result, "similarity": 0.93, "live": true, "document_type": "id", "generalDocuments": [],
        "reject_reason": { "value": reject_reason, "description": "" }, "result_comment": "", "face_images": 1,
        "name": "ERIKA EXAMPLE", "configId": "000000000000000000000000",
        "person": {
            "first_name": "ERIKA", "last_name": "EXAMPLE", "nationality": "AUT", "document_number": "X0000000",
            "birthday_time": "1990-01-01T00:00:00.000Z", "personal_number": "00000000000",
        },
        "technicalDetails": { "remoteAddress": "192.0.2.7", "userAgent": "example", "countryCode": "AT" },
    }))
}

fn verification(subject: &str, scenario: Scenario) -> Option<Value> {
    let verdict = match scenario {
        Scenario::Approved => json!({ "result": "VERIFIED", "reason": "OK", "message": "" }),
        Scenario::Contradictory => json!({ "result": "VERIFIED", "reason": "BLACKLISTED", "message": "" }),
        Scenario::Rejected => json!({ "result": "DENIED", "reason": "MISMATCHED-NAME", "message": "" }),
        Scenario::Review => json!({ "result": "UNKNOWN", "reason": "UNKNOWN-ADDRESS", "message": "" }),
        Scenario::Failed => json!({ "result": "ERROR", "reason": "REQUEST-TIMEOUT", "message": "" }),
        Scenario::Pending => json!({}),
        Scenario::NewVerdict => json!({ "result": "VERIFIED_PROVISIONALLY", "reason": "OK" }),
        _ => return None,
    };
    let mut answer = json!({
        "verificationId": "10", "verificationUuid": subject, "txHash": null, "vout": null,
        "assetInfo": { "network": "Bitcoin", "symbol": "BTC", "amount": "0.5", "isExceedingThreshold": 1 },
        "originatingVaspId": "1000000000000000001", "beneficiaryVaspId": "1000000000000000002",
        "ivms101Originator": "{}", "ivms101Beneficiary": "{}",
    });
    for (name, value) in verdict.as_object().cloned().unwrap_or_else(Map::new) {
        add(&mut answer, &name, value);
    }
    Some(answer)
}

fn add(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}
