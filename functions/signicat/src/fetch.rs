//! Asking Signicat where a process stands, with its Assure API.
//!
//! Follows Signicat's documents "Accessing API products" (OAuth 2.0 client credentials) and "Process". The status is the one of the
//! notifications, so the same rule decides about it.

use jiff::SignedDuration;
use model::{
    CourseKey, Fetcher, Found, Parsed, Question, Reply, Schedule, Timestamp, Unrecognized, Web, is_plain_reference,
    wire,
};
use runtime::{Secrets, basic_authorization};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::{Signicat, kinds, process_status};

/// Asks Signicat. Keeps its access token until it expires.
#[derive(Debug)]
pub struct SignicatFetcher {
    base_url: String,
    token: Mutex<Option<Token>>,
}

/// An API client with the role for Assure, as Signicat's Dashboard makes it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct SignicatCredentials {
    client_id: String,
    client_secret: String,
}

/// Shows nothing.
impl std::fmt::Debug for SignicatCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignicatCredentials").finish_non_exhaustive()
    }
}

/// An access token of these credentials.
struct Token {
    credentials: SignicatCredentials,
    text: String,
    expires_at: Timestamp,
}

/// Shows nothing but when it expires.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// How long before it expires a token is not used any more.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);

impl SignicatFetcher {
    /// Asks at this address, such as `https://api.signicat.com`.
    #[must_use]
    pub fn new(base_url: &str) -> Self {
        Self { base_url: base_url.trim_end_matches('/').to_owned(), token: Mutex::new(None) }
    }

    /// A token: the known one, unless it expires or Signicat has refused just that one.
    async fn token(
        &self,
        credentials: &SignicatCredentials,
        refused: Option<&str>,
        web: &impl Web,
        now: Timestamp,
    ) -> Result<String, Found> {
        // Held while a token is requested, so that several questions at once request one.
        let mut known = self.token.lock().await;
        let usable = known.as_ref().filter(|token| {
            token.credentials == *credentials && token.expires_at > now && Some(token.text.as_str()) != refused
        });
        if let Some(token) = usable {
            return Ok(token.text.clone());
        }
        *known = None;
        let token = self.request_token(credentials, web, now).await?;
        Ok(known.insert(token).text.clone())
    }

    async fn request_token(
        &self,
        credentials: &SignicatCredentials,
        web: &impl Web,
        now: Timestamp,
    ) -> Result<Token, Found> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            expires_in: Option<u32>,
        }
        // RFC 6749, section 2.3.1: both are encoded as in a form before they are presented.
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let (client_id, client_secret) = (encoded(&credentials.client_id), encoded(&credentials.client_secret));
        let question = Question::post(
            format!("{}/auth/open/connect/token", self.base_url),
            "application/x-www-form-urlencoded",
            b"grant_type=client_credentials&scope=signicat-api".to_vec(),
        )
        .with_header("accept", "application/json".to_owned())
        .with_header("authorization", basic_authorization(&client_id, &client_secret));
        let reply = web.ask(question).await.map_err(|_| Found::no_reply())?;
        match reply.status {
            200 => {}
            // An unknown client is a bad request by RFC 6749.
            400 => return Err(Found::Unavailable(Found::NOT_AUTHORIZED, reply.retry_after)),
            // It is the token that is not found, not the process.
            404 | 410 => return Err(Found::Unavailable("no_token", reply.retry_after)),
            _ => return Err(Found::of_status(&reply)),
        }
        let answer: Answer = wire::from_json(&reply.body).map_err(|_| Found::not_understood())?;
        let text = answer.access_token;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Found::not_understood());
        }
        // One that does not say how long it lives is used once.
        let life = SignedDuration::from_secs(answer.expires_in.unwrap_or_default().into());
        let expires_at = now.saturating_add(life.saturating_sub(MARGIN)).unwrap_or(now);
        Ok(Token { credentials: credentials.clone(), text, expires_at })
    }

    async fn process(&self, dossier_id: &str, process_id: &str, token: &str, web: &impl Web) -> Result<Reply, Found> {
        let url = format!("{}/assure/dossiers/{dossier_id}/processes/{process_id}", self.base_url);
        let question = Question::get(url)
            .with_header("accept", "application/json".to_owned())
            .with_header("authorization", format!("Bearer {token}"));
        web.ask(question).await.map_err(|_| Found::no_reply())
    }

    async fn find(
        &self,
        dossier_id: &str,
        process_id: &str,
        credentials: &SignicatCredentials,
        web: &impl Web,
        now: Timestamp,
    ) -> Result<Found, Found> {
        let token = self.token(credentials, None, web, now).await?;
        let mut reply = self.process(dossier_id, process_id, &token, web).await?;
        if reply.status == 401 {
            // The token may have been withdrawn before it expired.
            let another = self.token(credentials, Some(&token), web, now).await?;
            reply = self.process(dossier_id, process_id, &another, web).await?;
        }
        if reply.status != 200 {
            return Err(Found::of_status(&reply));
        }
        match verdict(&reply.body, dossier_id, process_id) {
            Ok(parsed) if parsed.is_final => Ok(Found::Verdict(Box::new(parsed), reply.body)),
            Ok(_) => Ok(Found::NotYet),
            Err(_) => Err(Found::not_understood()),
        }
    }
}

impl Fetcher for SignicatFetcher {
    type Provider = Signicat<Secrets>;
    type Credentials = SignicatCredentials;

    /// Signicat publishes neither a limit nor an interval.
    const SCHEDULE: Schedule = Schedule(&[0, 60, 300, 900, 1800, 3600]);

    /// The dossier, which is a part of the address.
    const REFERENCE: Option<&'static str> = Some(kinds::DOSSIER_ID);

    fn fetches(&self, key: &CourseKey) -> bool {
        key.provider == "signicat" && key.track == kinds::PROCESS_STATUS.track().name()
    }

    async fn fetch(
        &self,
        key: &CourseKey,
        reference: Option<&str>,
        credentials: &SignicatCredentials,
        web: &impl Web,
        now: Timestamp,
    ) -> Found {
        let dossier_id = reference.filter(|dossier_id| is_plain_reference(dossier_id));
        let Some(dossier_id) = dossier_id.filter(|_| is_plain_reference(&key.subject)) else {
            return Found::Unavailable(Found::NO_REFERENCE, None);
        };
        self.find(dossier_id, &key.subject, credentials, web, now).await.unwrap_or_else(|other| other)
    }
}

/// What an answer says about this process, by the rule of the notifications. It does not name the dossier.
fn verdict(answer: &[u8], dossier_id: &str, process_id: &str) -> Result<Parsed, Unrecognized> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "processId", default, deserialize_with = "wire::text")]
        process_id: Option<String>,
        #[serde(default, deserialize_with = "wire::text")]
        status: Option<String>,
    }
    let answer: Answer = wire::from_json(answer)?;
    if answer.process_id.as_deref() != Some(process_id) {
        return Err(Unrecognized::new("another_reference"));
    }
    process_status(Some(dossier_id.to_owned()), answer.process_id, answer.status)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;

    use model::{NoReply, Outcome, Provider as _, Verified};
    use serde_json::{Value, json};

    use super::*;

    /// Signicat: gives tokens, and these replies to questions about a process, one after the other.
    struct Canned {
        replies: StdMutex<Vec<Option<Reply>>>,
        /// What a request for a token is answered.
        token: StdMutex<Option<Reply>>,
        asked: StdMutex<Vec<Question>>,
    }

    impl Canned {
        fn new(mut replies: Vec<Option<Reply>>) -> Self {
            replies.reverse();
            let token = reply(200, json!({ "access_token": "token-0", "expires_in": 600, "token_type": "Bearer" }));
            Self { replies: StdMutex::new(replies), token: StdMutex::new(token), asked: StdMutex::default() }
        }

        fn with_token(self, token: Option<Reply>) -> Self {
            *self.token.lock().unwrap() = token;
            self
        }

        /// The next token has this number.
        fn renew(&self, number: u32) {
            *self.token.lock().unwrap() =
                reply(200, json!({ "access_token": format!("token-{number}"), "expires_in": 600 }));
        }

        /// What was asked for: `token`, or the token with which a process was asked for.
        fn asked(&self) -> Vec<String> {
            let asked = |question: &Question| match question.method {
                "POST" => "token".to_owned(),
                _ => header(question, "authorization").to_owned(),
            };
            self.asked.lock().unwrap().iter().map(asked).collect()
        }
    }

    impl Web for Canned {
        async fn ask(&self, question: Question) -> Result<Reply, NoReply> {
            let is_token = question.url == "https://api.example.com/auth/open/connect/token";
            self.asked.lock().unwrap().push(question);
            let reply = if is_token {
                self.token.lock().unwrap().clone()
            } else {
                self.replies.lock().unwrap().pop().expect("nobody asks more often")
            };
            reply.ok_or_else(|| NoReply("late".into()))
        }
    }

    fn header<'a>(question: &'a Question, name: &str) -> &'a str {
        &question.headers.iter().find(|(header, _)| *header == name).unwrap().1
    }

    fn reply(status: u16, body: impl ToString) -> Option<Reply> {
        Some(Reply { status, retry_after: None, body: body.to_string().into() })
    }

    fn process(status: &str) -> Option<Reply> {
        reply(
            200,
            json!({
                "processId": "p-1", "provider": "example", "processType": "substantial", "status": status,
                "createdAt": "2026-01-31T09:30:00Z", "updatedAt": "2026-01-31T09:31:40Z",
                "finalResult": { "firstName": "ERIKA", "lastName": "EXAMPLE" },
            }),
        )
    }

    fn credentials(secret: &str) -> SignicatCredentials {
        serde_json::from_value(json!({ "client_id": "client", "client_secret": secret })).unwrap()
    }

    fn key(subject: &str) -> CourseKey {
        CourseKey { provider: "signicat".to_owned(), subject: subject.to_owned(), track: "process-status".to_owned() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn fetcher() -> SignicatFetcher {
        SignicatFetcher::new("https://api.example.com/")
    }

    fn fetch_at(fetcher: &SignicatFetcher, web: &Canned, now: i64) -> Found {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(fetcher.fetches(&key("p-1")));
        runtime.block_on(fetcher.fetch(&key("p-1"), Some("d-1"), &credentials("s3cret"), web, at(now)))
    }

    fn fetch(replies: Vec<Option<Reply>>) -> Found {
        fetch_at(&fetcher(), &Canned::new(replies), 0)
    }

    #[test]
    fn each_status_comes_to_what_the_notification_comes_to() {
        for status in ["accepted", "rejected", "not_matched", "inconclusive", "failed", "canceled"] {
            let Found::Verdict(fetched, answer) = fetch(vec![process(status)]) else { panic!("{status}") };
            let body = json!({ "dossierId": "d-1", "processId": "p-1", "status": status }).to_string();
            assert_eq!(*fetched, Signicat::<Secrets>::parse(&Verified::fetched(body)).unwrap());
            assert_eq!(fetched.outcome == Outcome::Approved, status == "accepted");
            assert_eq!(Some(answer), process(status).map(|reply| reply.body));
        }
        for status in ["pending", "processing"] {
            assert!(matches!(fetch(vec![process(status)]), Found::NotYet), "{status}");
        }
    }

    #[test]
    fn what_is_not_understood_is_never_a_verdict() {
        let accepted = process("accepted").unwrap().body;
        let accepted = std::str::from_utf8(&accepted).unwrap().to_owned();
        for odd in [
            process("Accepted"),
            process("accepted "),
            process(""),
            reply(200, accepted.replace("p-1", "p-2")),
            reply(200, accepted.replace(r#""processId""#, r#""id""#)),
            reply(200, accepted.replace(r#""status""#, r#""status":"rejected","status""#)),
            reply(200, accepted.replace(r#""accepted""#, r#"["accepted"]"#)),
            reply(200, &accepted[..accepted.len() - 1]),
            reply(200, "[]"),
            reply(200, "<html>"),
            reply(200, ""),
        ] {
            let found = fetch(vec![odd.clone()]);
            assert!(matches!(found, Found::Unavailable(Found::NOT_UNDERSTOOD, None)), "{odd:?}: {found:?}");
        }
    }

    #[test]
    fn every_other_answer_is_no_verdict() {
        let wait = Some(SignedDuration::from_secs(7));
        for (code, wish, reply) in [
            (Found::NOT_AUTHORIZED, None, reply(403, "")),
            (Found::TOO_MANY_REQUESTS, None, reply(429, "")),
            (Found::TOO_MANY_REQUESTS, wait, Some(Reply { status: 429, retry_after: wait, body: "".into() })),
            ("server_error", None, reply(500, "")),
            ("unexpected_status", None, reply(204, "")),
            ("unexpected_status", None, reply(302, "")),
            ("unexpected_status", None, reply(400, "")),
            (Found::NO_REPLY, None, None),
        ] {
            let found = fetch(vec![reply]);
            assert!(matches!(found, Found::Unavailable(c, w) if c == code && w == wish), "{code}: {found:?}");
        }
        assert!(matches!(fetch(vec![reply(404, "")]), Found::Unknown));
    }

    #[test]
    fn a_token_is_kept_until_it_expires() {
        let fetcher = fetcher();
        let web = Canned::new((0..4).map(|_| process("pending")).collect());
        for (second, number) in [(0, 1), (569, 2), (570, 3), (571, 4)] {
            assert!(matches!(fetch_at(&fetcher, &web, second), Found::NotYet));
            web.renew(number);
        }
        let expected = ["token", "Bearer token-0", "Bearer token-0", "token", "Bearer token-2", "Bearer token-2"];
        assert_eq!(web.asked(), expected);
    }

    #[test]
    fn a_token_that_is_refused_is_renewed_once() {
        let fetcher = fetcher();
        let web = Canned::new(vec![process("pending"), reply(401, ""), process("accepted")]);
        assert!(matches!(fetch_at(&fetcher, &web, 0), Found::NotYet));
        web.renew(1);
        assert!(matches!(fetch_at(&fetcher, &web, 1), Found::Verdict(..)));
        assert_eq!(web.asked(), ["token", "Bearer token-0", "Bearer token-0", "token", "Bearer token-1"]);

        let web = Canned::new(vec![reply(401, ""), reply(401, "")]);
        assert!(matches!(fetch_at(&self::fetcher(), &web, 0), Found::Unavailable(Found::NOT_AUTHORIZED, None)));
        assert_eq!(web.asked(), ["token", "Bearer token-0", "token", "Bearer token-0"]);
    }

    #[test]
    fn a_token_belongs_to_the_credentials_that_it_was_given_for() {
        let (fetcher, web) = (fetcher(), Canned::new(vec![process("pending"), process("pending")]));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for secret in ["s3cret", "rotated"] {
            runtime.block_on(fetcher.fetch(&key("p-1"), Some("d-1"), &credentials(secret), &web, at(0)));
        }
        assert_eq!(web.asked(), ["token", "Bearer token-0", "token", "Bearer token-0"]);
    }

    #[test]
    fn without_a_token_nobody_asks_about_a_process() {
        let answer = |body: Value| reply(200, body);
        for (code, token) in [
            (Found::NOT_AUTHORIZED, reply(400, r#"{"error":"invalid_client"}"#)),
            (Found::NOT_AUTHORIZED, reply(401, "")),
            (Found::NOT_AUTHORIZED, reply(403, "")),
            ("no_token", reply(404, "")),
            (Found::TOO_MANY_REQUESTS, reply(429, "")),
            ("server_error", reply(500, "")),
            ("unexpected_status", reply(302, "")),
            (Found::NO_REPLY, None),
            (Found::NOT_UNDERSTOOD, reply(200, "garbage")),
            (Found::NOT_UNDERSTOOD, answer(json!({}))),
            (Found::NOT_UNDERSTOOD, answer(json!({ "access_token": "", "expires_in": 600 }))),
            (Found::NOT_UNDERSTOOD, answer(json!({ "access_token": "a\r\nb", "expires_in": 600 }))),
            (Found::NOT_UNDERSTOOD, answer(json!({ "access_token": "a", "expires_in": -1 }))),
            (Found::NOT_UNDERSTOOD, answer(json!({ "access_token": ["a"] }))),
        ] {
            let web = Canned::new(Vec::new()).with_token(token);
            let found = fetch_at(&fetcher(), &web, 0);
            assert!(matches!(found, Found::Unavailable(c, None) if c == code), "{code}: {found:?}");
            assert_eq!(web.asked(), ["token"]);
        }
    }

    #[test]
    fn a_token_that_does_not_say_how_long_it_lives_is_used_once() {
        let fetcher = fetcher();
        let web = Canned::new(vec![process("pending"), process("pending")])
            .with_token(reply(200, json!({ "access_token": "a" })));
        for second in [0, 1] {
            assert!(matches!(fetch_at(&fetcher, &web, second), Found::NotYet));
        }
        assert_eq!(web.asked(), ["token", "Bearer a", "token", "Bearer a"]);
    }

    #[test]
    fn a_process_is_asked_for_in_its_dossier_with_nothing_secret_in_the_address() {
        let web = Canned::new(vec![process("pending")]);
        fetch_at(&fetcher(), &web, 0);
        let asked = web.asked.lock().unwrap();
        let [token, process] = asked.as_slice() else { panic!("{asked:?}") };
        assert_eq!(token.body, b"grant_type=client_credentials&scope=signicat-api");
        assert_eq!(header(token, "content-type"), "application/x-www-form-urlencoded");
        assert_eq!(header(token, "authorization"), basic_authorization("client", "s3cret"));
        assert_eq!(process.url, "https://api.example.com/assure/dossiers/d-1/processes/p-1");
        assert_eq!(process.method, "GET");
        let shown = format!("{token:?}{process:?}{:?}{:?}{}", fetcher(), credentials("s3cret"), token.url);
        assert!(!shown.contains("s3cret") && !shown.contains("token-0"), "{shown}");
    }

    #[test]
    fn without_a_dossier_or_with_what_is_no_reference_nobody_is_asked() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (dossier_id, process_id) in [
            (None, "p-1"),
            (Some(""), "p-1"),
            (Some(".."), "p-1"),
            (Some("d/1"), "p-1"),
            (Some("d-1"), "p?1"),
            (Some("d-1"), "../../dossiers"),
            (Some("d-1"), ""),
        ] {
            let web = Canned::new(Vec::new());
            let found =
                runtime.block_on(fetcher().fetch(&key(process_id), dossier_id, &credentials("s3cret"), &web, at(0)));
            assert!(matches!(found, Found::Unavailable(Found::NO_REFERENCE, None)), "{dossier_id:?}: {found:?}");
            assert!(web.asked().is_empty());
        }
    }
}
