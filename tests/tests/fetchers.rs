//! Each provider's fetcher asks that provider's stand-in, over HTTP: every answer there is, and what comes of it.

use std::time::Duration;

use cli::{
    local::{Addresses, Folder, Lifetime, LocalStack},
    provider::{Control, Played, Scenario, Setting, StandIns},
    stack::Stack,
};
use futures_util::future::join_all;
use identomat::fetch::IdentomatFetcher;
use jumio::fetch::JumioFetcher;
use model::{CourseKey, Fetcher, Found};
use runtime::{Https, Questions};
use serde_json::{Value, json};
use signicat::fetch::SignicatFetcher;
use tests::{callbacks, callbacks_and_errors, free_port};
use verifyvasp::fetch::VerifyVaspFetcher;

use Scenario::{
    Approved, Contradictory, Failed, Malformed, NewVerdict, NotFound, Oversized, Pending, Rejected, Review,
    ServerError, Slow, TooManyRequests,
};

/// The stand-ins, and the fetchers that ask them.
struct Site {
    control: Control,
    web: Questions,
    identomat: IdentomatFetcher,
    jumio: JumioFetcher,
    signicat: SignicatFetcher,
    verifyvasp: VerifyVaspFetcher,
}

impl Site {
    async fn start() -> Self {
        let stand_ins = StandIns::bind().await.unwrap();
        let url = stand_ins.url().to_owned();
        tokio::spawn(stand_ins.serve());
        Self {
            control: Control::new(&url),
            web: Questions::new(Https::new().unwrap()),
            identomat: IdentomatFetcher::new(&Played::Identomat.url(&url)),
            jumio: JumioFetcher::new(&Played::Jumio.url(&url)),
            signicat: SignicatFetcher::new(&Played::Signicat.url(&url)),
            verifyvasp: VerifyVaspFetcher::new(&Played::VerifyVasp.url(&url)),
        }
    }

    async fn set(&self, provider: Played, subject: &str, scenario: Scenario, pending: u32) {
        let setting = Setting { provider, subject: subject.to_owned(), scenario, pending, dossier: None };
        self.control.set(&setting).await.unwrap();
    }

    /// What the provider of this track says about a subject, in a few words.
    async fn fetch(&self, track: Track, subject: &str) -> String {
        self.fetch_with(track, subject, &track.provider().credentials()).await
    }

    async fn fetch_with(&self, track: Track, subject: &str, credentials: &Value) -> String {
        let key = track.key(subject);
        match track.provider() {
            Played::Identomat => self.ask(&self.identomat, &key, credentials).await,
            Played::Jumio => self.ask(&self.jumio, &key, credentials).await,
            Played::Signicat => self.ask(&self.signicat, &key, credentials).await,
            Played::VerifyVasp => self.ask(&self.verifyvasp, &key, credentials).await,
        }
    }

    async fn ask<F: Fetcher>(&self, fetcher: &F, key: &CourseKey, credentials: &Value) -> String {
        assert!(fetcher.fetches(key), "{}/{}", key.provider, key.track);
        let credentials: F::Credentials = serde_json::from_value(credentials.clone()).unwrap();
        let reference = F::REFERENCE.map(|_| "dossier-1");
        match fetcher.fetch(key, reference, &credentials, &self.web, runtime::now()).await {
            Found::Verdict(parsed, answer) => {
                assert_eq!((parsed.subject.as_str(), &parsed.track), (&*key.subject, &key.track));
                assert!(serde_json::from_slice::<Value>(&answer).unwrap().is_object());
                let word = if parsed.is_final { "final" } else { "no verdict" };
                format!("{} {} {word} {}", parsed.kind, parsed.outcome.as_str(), parsed.reasons.join(","))
            }
            Found::NotYet => "not yet".to_owned(),
            Found::Unknown => "unknown".to_owned(),
            Found::Unavailable(code, None) => code.to_owned(),
            Found::Unavailable(code, Some(pause)) => format!("{code} for {} s", pause.as_secs()),
        }
    }

    /// How often a provider was asked about this subject, and how many calls that took.
    async fn asked(&self, provider: Played, subject: &str) -> (u32, u32) {
        let report = self.control.show().await.unwrap();
        let mut verifications = report.verifications.into_iter();
        let is_it = |setting: &Setting| setting.provider == provider && setting.subject == subject;
        let verification = verifications.find(|verification| is_it(&verification.setting)).unwrap();
        (verification.asked, verification.calls)
    }
}

/// What can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Track {
    Session,
    Scan,
    Authentication,
    Document,
    Process,
    Verification,
}

impl Track {
    const ALL: [Self; 6] =
        [Self::Session, Self::Scan, Self::Authentication, Self::Document, Self::Process, Self::Verification];

    fn provider(self) -> Played {
        match self {
            Self::Session => Played::Identomat,
            Self::Scan | Self::Authentication | Self::Document => Played::Jumio,
            Self::Process => Played::Signicat,
            Self::Verification => Played::VerifyVasp,
        }
    }

    fn key(self, subject: &str) -> CourseKey {
        let track = match self {
            Self::Session => "session-change",
            Self::Scan => "netverify-id",
            Self::Authentication => "netverify-authentication",
            Self::Document => "document-verification",
            Self::Process => "process-status",
            Self::Verification => "verification",
        };
        let provider = self.provider().as_str().to_owned();
        CourseKey { provider, subject: subject.to_owned(), track: track.to_owned() }
    }
}

/// Checks what comes of each of these answers.
async fn check(track: Track, expected: &[(Scenario, &str)]) {
    let site = Site::start().await;
    for (scenario, expected) in expected {
        let subject = format!("{scenario}-1");
        site.set(track.provider(), &subject, *scenario, 0).await;
        assert_eq!(site.fetch(track, &subject).await.trim_end(), *expected, "{track:?} {scenario}");
    }
}

/// What every provider's fetcher makes of these.
const TROUBLE: [(Scenario, &str); 5] = [
    (TooManyRequests, "too_many_requests for 120 s"),
    (ServerError, "server_error"),
    (Malformed, "not_understood"),
    (Oversized, "no_reply"),
    (NewVerdict, "not_understood"),
];

#[tokio::test]
async fn a_session_is_fetched_from_identomat() {
    check(
        Track::Session,
        &[
            (Approved, "session-change approved final"),
            (Rejected, "session-change rejected final REJECTED"),
            (Review, "not yet"),
            (Pending, "not yet"),
            (NotFound, "unknown"),
            (Contradictory, "not_understood"),
        ],
    )
    .await;
    check(Track::Session, &TROUBLE).await;
}

#[tokio::test]
async fn a_scan_is_fetched_from_jumio() {
    check(
        Track::Scan,
        &[
            (Approved, "netverify-id approved final"),
            (Rejected, "netverify-id rejected final 100,1001"),
            (Failed, "netverify-id failed final NO_ID_UPLOADED"),
            (Contradictory, "netverify-id review final NO_MATCH"),
            (Pending, "not yet"),
            (NotFound, "unknown"),
        ],
    )
    .await;
    check(Track::Scan, &TROUBLE).await;
}

#[tokio::test]
async fn an_authentication_is_fetched_from_jumio() {
    check(
        Track::Authentication,
        &[
            (Approved, "netverify-authentication approved final"),
            (Rejected, "netverify-authentication rejected final FAILED"),
            (Failed, "netverify-authentication failed final EXPIRED"),
            (Contradictory, "netverify-authentication review final 100"),
            (Pending, "not yet"),
            (NotFound, "unknown"),
        ],
    )
    .await;
    check(Track::Authentication, &TROUBLE).await;
}

#[tokio::test]
async fn a_document_is_fetched_from_jumio() {
    check(
        Track::Document,
        &[
            // That it came in is no verdict, and all there is to say.
            (Approved, "document-verification none no verdict"),
            (Rejected, "document-verification failed final DISCARDED"),
            (Failed, "document-verification failed final FAILED"),
            (Contradictory, "not_understood"),
            // One that is not finished is not found.
            (Pending, "not yet"),
            (NotFound, "not yet"),
        ],
    )
    .await;
    // Where it is malformed, that is so of its status already.
    check(Track::Document, &TROUBLE).await;
}

#[tokio::test]
async fn a_process_is_fetched_from_signicat() {
    check(
        Track::Process,
        &[
            (Approved, "process-status approved final"),
            (Rejected, "process-status rejected final rejected"),
            (Review, "process-status review final inconclusive"),
            (Failed, "process-status failed final failed"),
            (Pending, "not yet"),
            (NotFound, "unknown"),
        ],
    )
    .await;
    check(Track::Process, &TROUBLE).await;
}

#[tokio::test]
async fn a_verification_is_fetched_from_an_enclave() {
    check(
        Track::Verification,
        &[
            (Approved, "verification-result approved final OK"),
            (Rejected, "verification-result rejected final MISMATCHED-NAME"),
            (Review, "verification-result review final UNKNOWN-ADDRESS"),
            (Failed, "verification-result failed final REQUEST-TIMEOUT"),
            (Contradictory, "verification-result review final BLACKLISTED"),
            (Pending, "not yet"),
            // The enclave says so with status 400.
            (NotFound, "unknown"),
        ],
    )
    .await;
    check(Track::Verification, &TROUBLE).await;
}

#[tokio::test]
async fn nobody_waits_for_a_slow_provider() {
    let site = Site::start().await;
    let fetches = Track::ALL.map(|track| {
        let site = &site;
        async move {
            site.set(track.provider(), "slow-1", Slow, 0).await;
            (track, site.fetch(track, "slow-1").await)
        }
    });
    // The stand-in takes 30 s.
    let found = tokio::time::timeout(Duration::from_secs(20), join_all(fetches)).await.expect("nobody waits");
    for (track, found) in found {
        assert_eq!(found, "no_reply", "{track:?}");
    }
}

#[tokio::test]
async fn a_verification_that_nobody_set_is_unknown() {
    let site = Site::start().await;
    for track in Track::ALL {
        let expected = if track == Track::Document { "not yet" } else { "unknown" };
        assert_eq!(site.fetch(track, "never-set-1").await, expected, "{track:?}");
    }
}

#[tokio::test]
async fn a_verdict_that_is_pending_is_found_when_it_is_there() {
    let site = Site::start().await;
    for track in Track::ALL {
        site.set(track.provider(), "later-1", Rejected, 2).await;
        for _ in 0..2 {
            assert_eq!(site.fetch(track, "later-1").await, "not yet", "{track:?}");
        }
        assert!(site.fetch(track, "later-1").await.contains(" final "), "{track:?}");
        // A scan and a document have details, which are asked for once.
        let details = u32::from(matches!(track, Track::Scan | Track::Document));
        assert_eq!(site.asked(track.provider(), "later-1").await, (3, 3 + details), "{track:?}");
    }
}

#[tokio::test]
async fn wrong_credentials_bring_nothing() {
    let site = Site::start().await;
    for (track, wrong) in [
        (Track::Session, json!({ "company_key": "another" })),
        (Track::Session, json!({ "company_key": "" })),
        (Track::Scan, json!({ "token": "local-token", "secret": "another", "company": "Example Company" })),
        (Track::Authentication, json!({ "token": "another", "secret": "local-secret", "company": "Example Company" })),
        // The User-Agent has to name the company.
        (Track::Document, json!({ "token": "local-token", "secret": "local-secret", "company": "Another" })),
        (Track::Process, json!({ "client_id": "local-client", "client_secret": "another" })),
    ] {
        site.set(track.provider(), "refused-1", Approved, 0).await;
        assert_eq!(site.fetch_with(track, "refused-1", &wrong).await, "not_authorized", "{track:?}");
        assert_eq!(site.asked(track.provider(), "refused-1").await, (0, 0), "{track:?}");
        let right = site.fetch(track, "refused-1").await;
        assert!(right.contains("approved") || track == Track::Document, "{track:?}: {right}");
    }
    let calls = site.control.show().await.unwrap().providers;
    assert_eq!((calls[&Played::Identomat].refused, calls[&Played::Jumio].refused), (2, 3));
    assert!(calls[&Played::Signicat].refused >= 1 && calls[&Played::VerifyVasp].refused == 0);
}

#[tokio::test]
async fn an_access_token_is_used_until_it_expires_and_then_once_refreshed() {
    let site = Site::start().await;
    site.set(Played::Signicat, "process-1", Approved, 0).await;
    for _ in 0..3 {
        assert_eq!(site.fetch(Track::Process, "process-1").await.trim_end(), "process-status approved final");
    }
    // One for the token, and then one for each.
    let calls = site.control.show().await.unwrap().providers[&Played::Signicat];
    assert_eq!((calls.total, calls.refused), (4, 0));

    site.control.expire_tokens().await.unwrap();
    assert_eq!(site.fetch(Track::Process, "process-1").await.trim_end(), "process-status approved final");
    // The refused one, one for another token, and the same again.
    let calls = site.control.show().await.unwrap().providers[&Played::Signicat];
    assert_eq!((calls.total, calls.refused), (7, 1));
}

#[tokio::test]
async fn a_process_of_another_dossier_is_unknown() {
    let site = Site::start().await;
    for (dossier, expected) in [("dossier-2", "unknown"), ("dossier-1", "process-status approved final")] {
        let dossier = Some(dossier.to_owned());
        let (provider, subject) = (Played::Signicat, "process-1".to_owned());
        let setting = Setting { provider, subject, scenario: Approved, pending: 0, dossier };
        site.control.set(&setting).await.unwrap();
        assert_eq!(site.fetch(Track::Process, "process-1").await.trim_end(), expected);
    }
}

#[tokio::test]
async fn a_stand_in_has_only_the_answers_of_its_provider() {
    let site = Site::start().await;
    for (provider, scenario) in
        [(Played::Identomat, Failed), (Played::Jumio, Review), (Played::Signicat, Contradictory)]
    {
        let subject = "subject-1".to_owned();
        let setting = Setting { provider, subject, scenario, pending: 0, dossier: None };
        let error = site.control.set(&setting).await.unwrap_err().to_string();
        assert!(error.contains(&format!("has no answer {scenario}, only approved, ")), "{error}");
    }
    assert!(site.control.show().await.unwrap().verifications.is_empty());
}

#[tokio::test]
async fn without_a_provider_there_is_no_reply() {
    let site = Site::start().await;
    let nowhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nowhere.local_addr().unwrap());
    drop(nowhere);
    let found = site.ask(&VerifyVaspFetcher::new(&url), &Track::Verification.key("uuid-1"), &json!({})).await;
    assert_eq!(found, "no_reply");
    // Plain HTTP leaves this machine only for what runs in the company's own network.
    let fetcher = VerifyVaspFetcher::new("http://192.0.2.1");
    assert_eq!(site.ask(&fetcher, &Track::Verification.key("uuid-1"), &json!({})).await, "no_reply");
}

/// One stack for all commands. One provider is not deployed there.
#[tokio::test]
async fn the_commands_announce_verdicts_and_set_what_providers_answer() {
    let addresses = Addresses { port: Some(free_port()), ..Addresses::default() };
    let parameters = [("Providers".to_owned(), "identomat,signicat,verifyvasp".to_owned())];
    let folder = Folder::named("fetchers").unwrap();
    let local = LocalStack::start_with(folder, addresses, &parameters, Lifetime::Attached).await.unwrap();
    answers_are_set_and_shown(&local.stack).await;
    announcements_can_be_repeated_but_not_changed(&local.stack).await;

    // The stand-ins end with the stack.
    let control = Control::new(local.stack.providers_url.as_ref().unwrap());
    assert!(control.show().await.is_ok());
    drop(local);
    let error = control.show().await.unwrap_err().to_string();
    assert!(error.contains("cargo callbacks local"), "{error}");
}

async fn answers_are_set_and_shown(stack: &Stack) {
    let (code, printed) = callbacks(stack, &["provider", "show"]).await;
    assert!(code == 0 && printed.contains("signicat") && !printed.contains("answers"), "{printed}");
    let set = ["provider", "set", "signicat", "shown-1", "approved", "--pending", "2", "--dossier", "dossier-1"];
    assert_eq!(callbacks(stack, &set).await, (0, String::new()));
    let (code, printed) = callbacks(stack, &["provider", "show"]).await;
    assert!(
        code == 0 && printed.contains("shown-1") && printed.contains("2 times pending, then approved"),
        "{printed}"
    );
    let (code, printed) = callbacks(stack, &["provider", "show", "--json"]).await;
    let shown: Value = serde_json::from_str(&printed).unwrap();
    let verification = json!({
        "provider": "signicat", "subject": "shown-1", "scenario": "approved", "pending": 2, "dossier": "dossier-1",
        "asked": 0, "calls": 0,
    });
    assert_eq!((code, &shown["verifications"]), (0, &json!([verification])));
    assert_eq!(shown["providers"]["jumio"], json!({ "total": 0, "refused": 0 }));
    assert_eq!(callbacks(stack, &["provider", "expire-tokens"]).await.0, 0);

    let (code, _, errors) = callbacks_and_errors(stack, &["provider", "set", "identomat", "s", "failed"]).await;
    assert!(
        code == 1 && errors.contains("identomat has no answer failed, only approved, rejected, review, "),
        "{errors}"
    );
    let elsewhere = Stack { providers_url: None, ..stack.clone() };
    let (code, _, errors) = callbacks_and_errors(&elsewhere, &["provider", "show"]).await;
    assert!(code == 1 && errors.contains("only a local stack has stand-ins"), "{errors}");
}

async fn announcements_can_be_repeated_but_not_changed(stack: &Stack) {
    let (code, printed) =
        callbacks(stack, &["expect", "verifyvasp", "--subject", "announced-1", "--due-in", "2h"]).await;
    let due_at =
        printed.trim_end().strip_prefix("Expected by ").unwrap_or_else(|| panic!("{code} {printed}")).to_owned();
    let ahead = due_at.parse::<model::Timestamp>().unwrap().duration_since(runtime::now()).as_secs();
    assert!((7000..=7200).contains(&ahead), "{due_at}");
    let again = ["expect", "verifyvasp", "--subject", "announced-1", "--due-at", &due_at];
    assert_eq!(callbacks(stack, &again).await, (0, format!("Expected by {due_at}, as it was before\n")));
    // Another track of the same subject is another verdict.
    let other = [&again[..], &["--track", "owner-verification", "--json"]].concat();
    let (code, printed) = callbacks(stack, &other).await;
    assert_eq!((code, printed.trim_end()), (0, r#"{"expected":true,"subject":"announced-1"}"#));

    let at = "2026-01-31T12:00:00Z";
    for (arguments, problem) in [
        (["verifyvasp", "--subject", "announced-1", "--due-at", at].as_slice(), "; the first announcement stands"),
        (&["verifyvasp", "--subject", "s", "--due-in", "2h", "--track", "tx-report"], "only verification, owner-"),
        (&["identomat", "--subject", "s", "--due-in", "60w"], "is wrong: due_at is more than a year ahead"),
        (&["signicat", "--subject", "s", "--due-in", "2h", "--dossier", "a/b"], "is wrong: details are references"),
        (&["jumio", "--subject", "s", "--due-in", "2h"], "jumio is not deployed in this stack"),
    ] {
        let (code, printed, errors) = callbacks_and_errors(stack, &[&["expect"], arguments].concat()).await;
        assert!(code == 1 && printed.is_empty() && errors.contains(problem), "{arguments:?}: {errors}");
    }
}
