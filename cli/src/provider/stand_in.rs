//! The stand-ins of the providers: one HTTP server, with a path prefix for each.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::Instant};

use super::answers::{self, Part};

/// A provider that has a stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Played {
    /// Identomat's result API
    Identomat,
    /// Jumio's Netverify Retrieval API
    Jumio,
    /// Signicat's Assure API
    Signicat,
    /// A VerifyVASP enclave
    VerifyVasp,
}

impl Played {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Identomat, Self::Jumio, Self::Signicat, Self::VerifyVasp];

    /// The provider's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identomat => "identomat",
            Self::Jumio => "jumio",
            Self::Signicat => "signicat",
            Self::VerifyVasp => "verifyvasp",
        }
    }

    /// The template's parameter that says where the provider is asked.
    pub(crate) fn url_parameter(self) -> &'static str {
        match self {
            Self::Identomat => "IdentomatApiUrl",
            Self::Jumio => "JumioRetrievalUrl",
            Self::Signicat => "SignicatApiUrl",
            Self::VerifyVasp => "VerifyvaspEnclaveUrl",
        }
    }

    /// The base address of this provider among the stand-ins at this address.
    #[must_use]
    pub fn url(self, stand_ins: &str) -> String {
        format!("{stand_ins}/{}", self.as_str())
    }

    /// What the stand-in wants to be asked with, as the provider's secret for retrieval has it.
    #[must_use]
    pub fn credentials(self) -> Value {
        match self {
            Self::Identomat => json!({ "company_key": "local-company-key" }),
            Self::Jumio => json!({ "token": "local-token", "secret": "local-secret", "company": COMPANY }),
            Self::Signicat => json!({ "client_id": "local-client", "client_secret": "local-client-secret" }),
            Self::VerifyVasp => json!({}),
        }
    }

    fn part(self) -> Part {
        match self {
            Self::Identomat => Part::Session,
            Self::Jumio => Part::Scan,
            Self::Signicat => Part::Process,
            Self::VerifyVasp => Part::Verification,
        }
    }
}

const COMPANY: &str = "Example Company";

/// What a provider answers about a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// It succeeded
    Approved,
    /// The answer is no
    Rejected,
    /// The provider cannot decide
    Review,
    /// It was not carried out to its end
    Failed,
    /// There is no verdict yet
    Pending,
    /// Approved, with a field that says otherwise
    Contradictory,
    /// A verdict that the provider does not document
    NewVerdict,
    /// The provider does not know it
    NotFound,
    /// 429, with Retry-After
    TooManyRequests,
    /// 500
    ServerError,
    /// Approved, but only after 30 s
    Slow,
    /// Approved, in half of a JSON text
    Malformed,
    /// Approved, in an answer of one megabyte
    Oversized,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// What was set about a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Whose it is.
    pub provider: Played,
    /// Its reference.
    pub subject: String,
    /// What is answered.
    pub scenario: Scenario,
    /// How many times it is first answered that there is no verdict yet.
    #[serde(default)]
    pub pending: u32,
    /// The only dossier that has it, where only one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dossier: Option<String>,
}

/// A verification, and what was asked about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// What is answered.
    #[serde(flatten)]
    pub setting: Setting,
    /// How often it was asked whether there is a verdict.
    pub asked: u32,
    /// How many calls there were about it, those for its details too.
    pub calls: u32,
}

/// The calls of one provider's stand-in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// All of them, those for tokens too.
    pub total: u32,
    /// Those without the right credentials.
    pub refused: u32,
}

/// What the stand-ins answer, and what they were asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The calls by provider.
    pub providers: BTreeMap<Played, Calls>,
    /// The verifications that were set.
    pub verifications: Vec<Verification>,
}

/// The stand-ins, about to serve.
#[derive(Debug)]
pub struct StandIns {
    listener: TcpListener,
    url: String,
}

impl StandIns {
    /// Stand-ins at a free port of 127.0.0.1, which know no verification.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn bind() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to find a free port")?;
        let url = format!("http://{}", listener.local_addr().context("failed to find a free port")?);
        Ok(Self { listener, url })
    }

    /// Where they are. See [`Played::url`].
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until this is dropped.
    ///
    /// # Errors
    /// If the server fails.
    pub async fn serve(self) -> anyhow::Result<()> {
        let router = Router::new().fallback(answer).layer(DefaultBodyLimit::max(64 * 1024));
        let router = router.with_state(Arc::<Shared>::default());
        axum::serve(self.listener, router).await.context("the stand-ins of the providers failed")
    }
}

#[derive(Debug, Default)]
struct Shared(Mutex<Known>);

/// What the stand-ins know.
#[derive(Debug, Default)]
struct Known {
    verifications: BTreeMap<(Played, String), Verification>,
    calls: BTreeMap<Played, Calls>,
    tokens: BTreeMap<String, Instant>,
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was asked for, by the path.
enum Asked<'a> {
    /// A provider, about one verification.
    Provider(Part, &'a str),
    /// Identomat, which has the reference in the body.
    Session,
    /// Signicat, about a process in a dossier.
    Process { dossier: &'a str, process: &'a str },
    /// Signicat, for an access token.
    Token,
}

impl Asked<'_> {
    fn provider(&self) -> Played {
        match self {
            Self::Session => Played::Identomat,
            Self::Process { .. } | Self::Token => Played::Signicat,
            Self::Provider(Part::Verification, _) => Played::VerifyVasp,
            Self::Provider(..) => Played::Jumio,
        }
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path: Vec<&str> = uri.path().split('/').skip(1).collect();
    let asked = match (method.as_str(), path.as_slice()) {
        ("GET", ["_state"]) => return state(&shared),
        ("PUT", ["_state"]) => return set(&shared, &body),
        ("DELETE", ["_state", "tokens"]) => {
            shared.known().tokens.clear();
            return StatusCode::NO_CONTENT.into_response();
        }
        ("GET", ["jumio", "api", "netverify", "v2", "scans", scan]) => Asked::Provider(Part::Scan, scan),
        ("GET", ["jumio", "api", "netverify", "v2", "scans", scan, "data"]) => Asked::Provider(Part::ScanData, scan),
        ("GET", ["jumio", "api", "netverify", "v2", "authentications", id]) => {
            Asked::Provider(Part::Authentication, id)
        }
        ("GET", ["jumio", "api", "netverify", "v2", "documents", scan]) => Asked::Provider(Part::Document, scan),
        ("GET", ["jumio", "api", "netverify", "v2", "documents", scan, "data"]) => {
            Asked::Provider(Part::DocumentData, scan)
        }
        ("POST", ["signicat", "auth", "open", "connect", "token"]) => Asked::Token,
        ("GET", ["signicat", "assure", "dossiers", dossier, "processes", process]) => {
            Asked::Process { dossier, process }
        }
        ("GET" | "POST", ["identomat", "external-api", "result", ""]) => Asked::Session,
        ("GET", ["verifyvasp", "v1", "verifications", uuid]) => Asked::Provider(Part::Verification, uuid),
        _ => return (StatusCode::NOT_FOUND, "no stand-in has this address\n").into_response(),
    };

    let provider = asked.provider();
    let fields = fields(&uri, &body);
    let is_authorized = is_authorized(&shared, &asked, &headers, &fields);
    {
        let mut known = shared.known();
        let calls = known.calls.entry(provider).or_default();
        calls.total = calls.total.saturating_add(1);
        calls.refused = calls.refused.saturating_add(u32::from(!is_authorized));
    }
    if !is_authorized {
        return (StatusCode::UNAUTHORIZED, json!({ "error": "unauthorized" }).to_string()).into_response();
    }
    match asked {
        Asked::Token => token(&shared, &fields),
        Asked::Provider(part, subject) => about(&shared, provider, part, subject, None).await,
        Asked::Process { dossier, process } => about(&shared, provider, Part::Process, process, Some(dossier)).await,
        Asked::Session => {
            let subject = fields.get("session_token").map(String::as_str).unwrap_or_default();
            about(&shared, provider, Part::Session, subject, None).await
        }
    }
}

/// The fields of the query and of a form.
fn fields(uri: &Uri, body: &[u8]) -> BTreeMap<String, String> {
    let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned();
    query.chain(form_urlencoded::parse(body).into_owned()).collect()
}

/// Whether the request has the credentials that the provider asks for.
fn is_authorized(shared: &Shared, asked: &Asked<'_>, headers: &HeaderMap, fields: &BTreeMap<String, String>) -> bool {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let authorization = header(header::AUTHORIZATION);
    let credentials = asked.provider().credentials();
    let credential = |name: &str| credentials.get(name).and_then(Value::as_str).unwrap_or_default();
    let basic = |user: &str, password: &str| format!("Basic {}", BASE64.encode(format!("{user}:{password}")));
    match asked.provider() {
        Played::Identomat => fields.get("company_key").is_some_and(|key| key == credential("company_key")),
        Played::Jumio => {
            authorization == basic(credential("token"), credential("secret"))
                && header(header::ACCEPT) == "application/json"
                && header(header::USER_AGENT).strip_prefix(COMPANY).is_some_and(|app| app.contains("/v"))
        }
        Played::Signicat if matches!(asked, Asked::Token) => {
            authorization == basic(credential("client_id"), credential("client_secret"))
        }
        Played::Signicat => {
            let tokens = &shared.known().tokens;
            let token = authorization.strip_prefix("Bearer ").and_then(|token| tokens.get(token));
            token.is_some_and(|expires_at| Instant::now() < *expires_at)
        }
        // The enclave documents no authentication.
        Played::VerifyVasp => true,
    }
}

/// How long Signicat's tokens last.
const TOKEN_LIFE: Duration = Duration::from_secs(600);

/// Issues an access token.
fn token(shared: &Shared, fields: &BTreeMap<String, String>) -> Response {
    let has = |name: &str, value: &str| fields.get(name).is_some_and(|field| field == value);
    if !has("grant_type", "client_credentials") || !has("scope", "signicat-api") {
        return (StatusCode::BAD_REQUEST, json!({ "error": "invalid_request" }).to_string()).into_response();
    }
    let mut bits = [0; 16];
    if aws_lc_rs::rand::fill(&mut bits).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let token = format!("{:032x}", u128::from_be_bytes(bits));
    let now = Instant::now();
    {
        let mut known = shared.known();
        known.tokens.retain(|_, expires_at| now < *expires_at);
        known.tokens.insert(token.clone(), now + TOKEN_LIFE);
    }
    let (expires_in, scope) = (TOKEN_LIFE.as_secs(), "signicat-api");
    ok(&json!({ "access_token": token, "expires_in": expires_in, "token_type": "Bearer", "scope": scope }))
}

/// How long the slow scenario takes: longer than anybody waits.
const SLOW: Duration = Duration::from_secs(30);

/// Answers what was set about a verification.
async fn about(shared: &Shared, provider: Played, part: Part, subject: &str, dossier: Option<&str>) -> Response {
    let scenario = {
        let mut known = shared.known();
        match known.verifications.get_mut(&(provider, subject.to_owned())) {
            Some(verification) if verification.setting.dossier.as_deref().is_none_or(|only| Some(only) == dossier) => {
                verification.calls = verification.calls.saturating_add(1);
                verification.asked = verification.asked.saturating_add(u32::from(part.asks_for_verdict()));
                let is_pending = verification.asked <= verification.setting.pending;
                if is_pending { Scenario::Pending } else { verification.setting.scenario }
            }
            _ => Scenario::NotFound,
        }
    };
    let approved = || answers::of(part, subject, Scenario::Approved).unwrap_or_default();
    match scenario {
        Scenario::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "120")]).into_response(),
        Scenario::ServerError => (StatusCode::INTERNAL_SERVER_ERROR, "example failure\n").into_response(),
        Scenario::Slow => {
            tokio::time::sleep(SLOW).await;
            ok(&approved())
        }
        Scenario::Malformed => {
            let text = approved().to_string();
            let half = text.len() / 2;
            text.get(..half).unwrap_or_default().to_owned().into_response()
        }
        Scenario::Oversized => {
            let mut answer = approved();
            if let Some(members) = answer.as_object_mut() {
                members.insert("padding".to_owned(), "x".repeat(1024 * 1024).into());
            }
            ok(&answer)
        }
        scenario => match answers::of(part, subject, scenario) {
            Some(answer) => ok(&answer),
            // VerifyVASP says so with 400.
            None if provider == Played::VerifyVasp => {
                let problem = json!({ "code": "VERIFICATION-NOT-FOUND", "message": "example" });
                (StatusCode::BAD_REQUEST, problem.to_string()).into_response()
            }
            None => (StatusCode::NOT_FOUND, json!({ "error": "not found" }).to_string()).into_response(),
        },
    }
}

fn ok(answer: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}

fn state(shared: &Shared) -> Response {
    let known = shared.known();
    let calls = |provider| (provider, known.calls.get(&provider).copied().unwrap_or_default());
    let report = Report {
        providers: Played::ALL.into_iter().map(calls).collect(),
        verifications: known.verifications.values().cloned().collect(),
    };
    ok(&json!(report))
}

fn set(shared: &Shared, body: &[u8]) -> Response {
    let setting: Setting = match serde_json::from_slice(body) {
        Ok(setting) => setting,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let provider = setting.provider;
    if !has(provider, setting.scenario) {
        let scenarios = Scenario::value_variants().iter().filter(|scenario| has(provider, **scenario));
        let scenarios: Vec<String> = scenarios.map(Scenario::to_string).collect();
        let problem =
            format!("{} has no answer {}, only {}", provider.as_str(), setting.scenario, scenarios.join(", "));
        return (StatusCode::BAD_REQUEST, problem).into_response();
    }
    if setting.dossier.is_some() && provider != Played::Signicat {
        return (StatusCode::BAD_REQUEST, "only Signicat has dossiers").into_response();
    }
    let key = (provider, setting.subject.clone());
    shared.known().verifications.insert(key, Verification { setting, asked: 0, calls: 0 });
    StatusCode::NO_CONTENT.into_response()
}

/// Whether a provider can answer so.
fn has(provider: Played, scenario: Scenario) -> bool {
    match scenario {
        Scenario::Rejected | Scenario::Review | Scenario::Failed | Scenario::Contradictory => {
            answers::of(provider.part(), "example", scenario).is_some()
        }
        _ => true,
    }
}
