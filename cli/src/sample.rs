//! The files in events/: an API Gateway event each, and what is expected of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures_util::FutureExt as _;
use model::{Credential, Outcome, Request, SecretPair, SigningScheme, Timestamp, signed_body};
use providers::registration;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    deploy::local_secret,
    selection::now,
    stack::{Connections, Stack},
    wallet::{self, Announcement, Issuer, Preparation},
};

/// One file in events/. It is an API Gateway event (payload format 2.0) with one field more, `expect`, which Lambda passes over.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Where it is.
    pub file: PathBuf,
    /// The name of the function it is for: the folder it is in.
    pub function: String,
    /// What is expected of it.
    pub expect: Expect,
    /// The event, as JSON.
    pub text: String,
    event: GatewayEvent,
    wallet: Option<Preparation>,
}

/// What should come of a callback.
#[derive(Debug, Clone, Deserialize)]
pub struct Expect {
    /// The status of the answer.
    pub status: u16,
    /// The body of the answer.
    pub body: Value,
    /// What is stored and, unless it is a repeat, published; nothing if absent.
    pub event: Option<ExpectedEvent>,
    /// Whether it says the same as the sample before it, so that it is stored and not published.
    #[serde(default)]
    pub repeat: bool,
    /// How it is sent to a local stack.
    #[serde(default)]
    pub send: By,
}

/// How a sample gets to a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Over HTTP, as from the provider.
    #[default]
    Http,
    /// As it is, as the event of an invocation, like `sam local invoke`: for what the gateway says of the sender, which the
    /// emulator's gateway does not.
    Invocation,
}

/// What should be stored, and published.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExpectedEvent {
    /// Provider and kind.
    pub kind: String,
    /// The provider's reference. [`Sample::ANNOUNCED`] if it is made when the code is announced.
    pub subject: String,
    /// The verdict.
    pub outcome: Outcome,
    /// The provider's codes.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Why it is not understood, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unrecognized: Option<String>,
    /// Whether it goes to the queue for deliveries.
    #[serde(default)]
    pub delivery: bool,
}

impl From<&model::StoredEvent> for ExpectedEvent {
    fn from(event: &model::StoredEvent) -> Self {
        Self {
            kind: event.kind.clone(),
            subject: event.subject.clone(),
            outcome: event.outcome,
            reasons: event.reasons.clone(),
            unrecognized: event.unrecognized.clone(),
            delivery: event.is_delivery(),
        }
    }
}

impl From<&model::Message> for ExpectedEvent {
    fn from(message: &model::Message) -> Self {
        Self {
            kind: message.kind().to_owned(),
            subject: message.subject.clone(),
            outcome: message.own_outcome(),
            reasons: message.data.reasons.clone(),
            unrecognized: message.data.unrecognized.clone(),
            delivery: message.expirytime.is_some(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GatewayEvent {
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    path_parameters: BTreeMap<String, String>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
    request_context: RequestContext,
}

#[derive(Debug, Clone, Deserialize)]
struct RequestContext {
    http: HttpContext,
}

#[derive(Debug, Clone, Deserialize)]
struct HttpContext {
    method: String,
}

/// What a provider got as an answer.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body: JSON if it is, else its text.
    pub body: Value,
}

impl Answer {
    /// What the gateway would make of what a function returned.
    pub(crate) fn of_function(response: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Response {
            status_code: u16,
            body: String,
        }
        let Response { status_code, body } = serde_json::from_str(response).context("not an answer to the gateway")?;
        Ok(Self { status: status_code, body: serde_json::from_str(&body).unwrap_or(Value::String(body)) })
    }
}

/// A stack's real secrets, by the functions' names.
pub type Secrets = BTreeMap<String, String>;

/// The secrets that the stack's providers present now.
///
/// # Errors
/// If they cannot be looked up.
pub async fn secrets(stack: &Stack, connections: &Connections) -> anyhow::Result<Secrets> {
    if stack.endpoint_url.is_some() {
        return Ok(stack.secrets.clone());
    }
    let mut secrets = Secrets::new();
    for (name, id) in &stack.secrets {
        let value = connections.secrets_manager.get_secret_value().secret_id(id).send().await;
        let value = value.with_context(|| format!("failed to look up the secret of {name}: may you read it?"))?;
        let json: Value = serde_json::from_str(value.secret_string().unwrap_or_default())
            .ok()
            .with_context(|| format!("the secret of {name} is not JSON"))?;
        let current = json
            .get("current")
            .and_then(Value::as_str)
            .with_context(|| format!("the secret of {name} has no current"))?;
        secrets.insert(name.clone(), current.to_owned());
    }
    Ok(secrets)
}

impl Sample {
    /// What a file has for the subject of a wallet's callback whose code is announced without a state.
    pub const ANNOUNCED: &str = "<subject>";

    /// Every sample of the project, ordered by function and name.
    ///
    /// # Errors
    /// If a file cannot be read or understood.
    pub fn all(root: &Path) -> anyhow::Result<Vec<Self>> {
        let mut samples = Vec::new();
        for function in list(&root.join("events"))? {
            for file in list(&function)? {
                samples.push(Self::read(&file)?);
            }
        }
        Ok(samples)
    }

    /// Every sample of one function, ordered by name.
    ///
    /// # Errors
    /// If a file cannot be read or understood.
    pub fn all_of(root: &Path, function: &str) -> anyhow::Result<Vec<Self>> {
        list(&root.join("events").join(function))?.iter().map(|file| Self::read(file)).collect()
    }

    /// The sample in this file.
    ///
    /// # Errors
    /// If it cannot be read, or is no API Gateway event with what is expected of it.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct File {
            #[serde(flatten)]
            event: GatewayEvent,
            expect: Expect,
            wallet: Option<Preparation>,
        }
        let path = file.canonicalize().with_context(|| format!("failed to find {}", file.display()))?;
        let text = std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", file.display()))?;
        let File { event, expect, wallet } = serde_json::from_str(&text)
            .with_context(|| format!("{} is no API Gateway event with what is expected of it", file.display()))?;
        let function = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let function = function.context("a sample is in a folder with the name of its function")?.to_owned();
        Ok(Self { file: file.to_owned(), function, expect, text, event, wallet })
    }

    /// The sample's name: its function and file, without the ending.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.function, self.file.file_stem().unwrap_or_default().to_string_lossy())
    }

    /// What has to be announced before the sample is sent, if anything.
    #[must_use]
    pub fn announcement(&self) -> Option<&Announcement> {
        self.wallet.as_ref()?.announce.as_ref()
    }

    /// Whether the local issuer has to sign something in it.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        self.wallet.as_ref().is_some_and(|wallet| !wallet.tokens.is_empty())
    }

    /// The sample about another verification, one that no sample is about: with this subject wherever it has its own, and for a wallet with
    /// a code and tokens that are like no other's.
    ///
    /// None of a sample that leaves nothing behind, or does not name its subject.
    #[must_use]
    pub fn about(&self, subject: &str) -> Option<Self> {
        let mut sample = self.clone();
        let event = sample.expect.event.as_mut()?;
        let own_subject = std::mem::replace(&mut event.subject, subject.to_owned());
        let mut body = self.body_text().filter(|body| body.contains(&own_subject))?;
        body = body.replace(&own_subject, subject);
        if let Some(announcement) = sample.wallet.as_mut().and_then(|wallet| wallet.announce.as_mut()) {
            let code = format!("code-of-{subject}-{}", self.file.file_stem().unwrap_or_default().to_string_lossy());
            body = body.replace(&announcement.code, &code);
            announcement.code = code;
            if let Some(state) = announcement.state.as_mut().filter(|state| **state == own_subject) {
                *state = subject.to_owned();
            }
        }
        // A token counts for one verification only.
        for token in sample.wallet.iter_mut().flat_map(|wallet| wallet.tokens.values_mut()) {
            if let Some(Value::String(id)) = token.claims.get_mut("verification_id") {
                *id = format!("{id}-of-{subject}");
            }
        }
        Some(sample.with_body(body))
    }

    /// The sample about a new verification: with this subject or, where that is made when the code is announced, with a code of this name.
    ///
    /// # Errors
    /// If the sample names no subject and has no code.
    pub fn fresh(self, name: &str) -> anyhow::Result<Self> {
        match self.about(name) {
            Some(sample) => Ok(sample),
            None if self.announcement().is_some() => Ok(self.with_code(&format!("code-of-{name}"))),
            None => bail!("{} does not name its subject, so it cannot be about another", self.name()),
        }
    }

    /// The sample with another value of a field of its body: of a form, or of JSON by its name or JSON pointer. What is text stays text.
    ///
    /// # Errors
    /// If the body is neither, or has no place for the field.
    pub fn with_field(mut self, field: &str, value: &str) -> anyhow::Result<Self> {
        let name = self.name();
        let body = self.body_text().with_context(|| format!("the body of {name} is no text"))?;
        let changed = match serde_json::from_str::<Value>(&body) {
            Ok(mut json) if json.is_object() => {
                let pointer = if field.starts_with('/') { field.to_owned() } else { format!("/{field}") };
                set(&mut json, &pointer, value)
                    .with_context(|| format!("the body of {name} has no place for {field}"))?;
                json.to_string()
            }
            _ if body.contains('=') => with_form_field(&body, field, value),
            _ => bail!("the body of {name} is neither a JSON object nor a form"),
        };
        // What is not about its subject any more cannot be looked for by it.
        if self
            .expect
            .event
            .as_ref()
            .is_some_and(|event| body.contains(&event.subject) && !changed.contains(&event.subject))
        {
            self.expect.event = None;
        }
        Ok(self.with_body(changed))
    }

    /// The sample with a body that is so many bytes longer, or little less, and says the same: in a token where there is one to be signed, as a
    /// portrait would be, else in a field of their own.
    #[must_use]
    pub fn padded(mut self, bytes: usize) -> Self {
        let tokens = self.wallet.iter_mut().flat_map(|wallet| wallet.tokens.values_mut());
        if let Some(claims) = tokens.filter_map(|token| token.claims.as_object_mut()).next() {
            // Four characters of a token are three bytes of its claims.
            claims.insert("padding".to_owned(), "x".repeat(bytes / 4 * 3).into());
            return self;
        }
        let padding = "x".repeat(bytes);
        match self.body_text() {
            Some(body) => {
                let padded = match body.trim_start().strip_prefix('{') {
                    Some(members) => format!(r#"{{"padding": "{padding}",{members}"#),
                    None => format!("{body}&padding={padding}"),
                };
                self.with_body(padded)
            }
            None => self,
        }
    }

    /// The sample with another code, in its body and in its announcement, if it has one.
    #[must_use]
    pub fn with_code(mut self, code: &str) -> Self {
        let Some(announcement) = self.wallet.as_mut().and_then(|wallet| wallet.announce.as_mut()) else { return self };
        let own_code = std::mem::replace(&mut announcement.code, code.to_owned());
        match self.body_text() {
            Some(body) => self.with_body(body.replace(&own_code, code)),
            None => self,
        }
    }

    /// The sample with another code and another announced state, in its body and in its announcement. Not if it has no announcement.
    #[must_use]
    pub(crate) fn announced_as(self, name: &str) -> Self {
        let code = format!("code-of-{name}");
        let mut sample = self.with_code(&code);
        let Some(announcement) = sample.wallet.as_mut().and_then(|wallet| wallet.announce.as_mut()) else {
            return sample;
        };
        let Some(state) = announcement.state.as_mut() else { return sample };
        let own_state = std::mem::replace(state, name.to_owned());
        match sample.body_text() {
            Some(body) => sample.with_body(body.replace(&own_state, name)),
            None => sample,
        }
    }

    /// Whether the body is a JSON object.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.body_text().is_some_and(|body| serde_json::from_str::<serde_json::Map<String, Value>>(&body).is_ok())
    }

    /// The body, if it is text.
    fn body_text(&self) -> Option<String> {
        let body = self.event.body.clone()?;
        if self.event.is_base64_encoded { String::from_utf8(BASE64.decode(body).ok()?).ok() } else { Some(body) }
    }

    fn with_body(mut self, body: String) -> Self {
        let body = if self.event.is_base64_encoded { BASE64.encode(body) } else { body };
        // It was read from this text.
        if let Ok(mut file) = serde_json::from_str::<serde_json::Map<String, Value>>(&self.text) {
            file.insert("body".to_owned(), body.clone().into());
            self.text = Value::from(file).to_string();
        }
        self.event.body = Some(body);
        self
    }

    /// The sample with its tokens signed by this issuer.
    ///
    /// # Errors
    /// If they cannot be signed.
    pub fn signed_by(mut self, issuer: &Issuer) -> anyhow::Result<Self> {
        for (name, token) in self.wallet.iter().flat_map(|wallet| &wallet.tokens) {
            let (place, token) = (format!("<token {name}>"), issuer.sign(token)?);
            // Neither has anything in it that JSON would escape.
            self.text = self.text.replace(&place, &token);
            self.event.body = self.event.body.map(|body| body.replace(&place, &token));
        }
        Ok(self)
    }

    /// The sample with the credential that its provider makes with this secret at this time, for the body that it has now.
    /// Only what the file has of the local stack's secret is replaced, so a sample that is refused stays one.
    ///
    /// # Errors
    /// If the sample cannot be changed.
    pub fn authenticated_by(mut self, secret: &str, now: Timestamp) -> anyhow::Result<Self> {
        let function = registration(&self.function).with_context(|| format!("no function {}", self.function))?;
        match function.settings.credential {
            Credential::Presented(_) => {
                let local = local_secret(&self.function);
                if secret != local {
                    self.replace(&local, secret)?;
                }
                Ok(self)
            }
            // A sample that is refused stays one, and a signature that fits stays in the form that it has.
            Credential::Signed(scheme) if self.expect.status == 200 && !self.is_signed(scheme, secret, now)? => {
                let body = self.body_bytes()?;
                for (name, value) in scheme.sign(secret, &self.name().replace('/', "-"), &body, now)? {
                    self.set_header(name, &value)?;
                }
                Ok(self)
            }
            // The code in the body is what was announced.
            Credential::Signed(_) | Credential::Announced(_) => Ok(self),
        }
    }

    /// Whether it has a signature that fits this secret at this time.
    fn is_signed(&self, scheme: &SigningScheme, secret: &str, now: Timestamp) -> anyhow::Result<bool> {
        let request = Request::new(self.body_bytes()?);
        let request =
            self.event.headers.iter().fold(request, |request, (name, value)| request.with_header(name, value));
        let secrets = SecretPair::new(secret, None)?;
        // Nothing is looked up, so there is nothing to wait for.
        Ok(signed_body(&request, scheme, &secrets, now).now_or_never().is_some_and(|verified| verified.is_ok()))
    }

    /// The body's bytes as they are sent.
    fn body_bytes(&self) -> anyhow::Result<Vec<u8>> {
        let body = self.event.body.as_deref().unwrap_or_default();
        if !self.event.is_base64_encoded {
            return Ok(body.as_bytes().to_vec());
        }
        BASE64.decode(body).with_context(|| format!("the body of {} is not base64", self.name()))
    }

    /// Sets a header, in place of those of this name in any case.
    fn set_header(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        let mut file: serde_json::Map<String, Value> = serde_json::from_str(&self.text)?;
        let headers = file.entry("headers").or_insert_with(|| Value::Object(serde_json::Map::new()));
        let headers = headers.as_object_mut().context("the headers of a sample are an object")?;
        headers.retain(|known, _| !known.eq_ignore_ascii_case(name));
        headers.insert(name.to_owned(), value.into());
        self.text = Value::from(file).to_string();
        self.event = serde_json::from_str(&self.text)?;
        Ok(())
    }

    /// Replaces a text without anything that JSON would escape, wherever it is.
    fn replace(&mut self, from: &str, to: &str) -> anyhow::Result<()> {
        let escaped = serde_json::to_string(to)?;
        let escaped = escaped.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&escaped);
        self.text = self.text.replace(from, escaped);
        self.event = serde_json::from_str(&self.text)?;
        // In base64 it was not found.
        if let Some(body) = self.body_text().filter(|body| body.contains(from)) {
            *self = self.clone().with_body(body.replace(from, to));
        }
        Ok(())
    }

    /// The sample with any bytes as its body, and what else it has as it is.
    #[must_use]
    pub fn with_bytes(mut self, body: &[u8]) -> Self {
        self.event.is_base64_encoded = true;
        let body = BASE64.encode(body);
        // It was read from this text.
        if let Ok(mut file) = serde_json::from_str::<serde_json::Map<String, Value>>(&self.text) {
            file.insert("isBase64Encoded".to_owned(), true.into());
            file.insert("body".to_owned(), body.clone().into());
            self.text = Value::from(file).to_string();
        }
        self.event.body = Some(body);
        self
    }

    /// The sample with this subject, if it is one that is made when its code is announced.
    #[must_use]
    pub fn with_announced_subject(mut self, subject: &str) -> Self {
        if let Some(event) = self.expect.event.as_mut().filter(|event| event.subject == Self::ANNOUNCED) {
            subject.clone_into(&mut event.subject);
        }
        self
    }

    /// The sample as it can be sent to this stack: with its tokens signed, its code announced, and the credential that a local
    /// stack knows. [`send`](Self::send) gives it that of another stack.
    ///
    /// # Errors
    /// If the stack is not local, where there is anything to sign, or nothing can be announced to it.
    pub async fn prepared(
        self,
        http: &reqwest::Client,
        stack: &Stack,
        connections: &Connections,
    ) -> anyhow::Result<Self> {
        let (sample, _) = self.announced(http, stack, connections).await?;
        let sample = if sample.has_tokens() { sample.signed_by(&Issuer::of(stack)?)? } else { sample };
        let secret = local_secret(&sample.function);
        sample.authenticated_by(&secret, now())
    }

    /// The sample with its code announced to this stack, if it has to be, and the subject that was announced.
    ///
    /// # Errors
    /// If it cannot be announced.
    pub async fn announced(
        self,
        http: &reqwest::Client,
        stack: &Stack,
        connections: &Connections,
    ) -> anyhow::Result<(Self, Option<String>)> {
        let Some(announcement) = self.announcement() else { return Ok((self, None)) };
        match wallet::announce(http, stack, connections, announcement).await? {
            (200 | 201, answer) => {
                let subject = wallet::announced_subject(&answer)?;
                Ok((self.with_announced_subject(&subject), Some(subject)))
            }
            (status, answer) => bail!("the announcement for {} was answered {status}: {answer}", self.name()),
        }
    }

    /// Sends the sample to a stack, with that stack's secret where the file has the local one.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send(&self, http: &reqwest::Client, stack: &Stack, secrets: &Secrets) -> anyhow::Result<Answer> {
        if let (By::Invocation, Some(endpoint_url)) = (self.expect.send, &stack.endpoint_url) {
            return self.invoke(http, stack, endpoint_url).await;
        }
        let request = self.request(stack, secrets)?;
        let mut builder =
            http.request(request.method.parse().context("not a method")?, &request.url).body(request.body);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let response = builder.send().await.with_context(|| format!("failed to send {}", self.name()))?;
        let status = response.status().as_u16();
        let text = response.text().await.with_context(|| format!("failed to read the answer to {}", self.name()))?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    /// Invokes the function on the emulator, which asks for no signature.
    async fn invoke(&self, http: &reqwest::Client, stack: &Stack, endpoint_url: &str) -> anyhow::Result<Answer> {
        let function = stack.functions.get(&self.function).with_context(|| format!("no function {}", self.function))?;
        let url = format!("{endpoint_url}/2015-03-31/functions/{function}/invocations");
        let response = http.post(url).body(self.text.clone()).send().await?.error_for_status()?;
        Answer::of_function(&response.text().await?)
            .with_context(|| format!("failed to invoke {function} with {}", self.name()))
    }

    /// Whether an answer is what the file expects.
    #[must_use]
    pub fn expects(&self, answer: &Answer) -> bool {
        answer.status == self.expect.status && answer.body == self.expect.body
    }

    /// A curl command that sends the sample to a local stack.
    ///
    /// # Errors
    /// If the stack has no route for it.
    pub fn curl(&self, stack: &Stack) -> anyhow::Result<String> {
        let request = self.request(stack, &stack.secrets)?;
        let mut words = vec!["curl".to_owned(), "-i".to_owned(), "-X".to_owned(), request.method, request.url];
        for (name, value) in request.headers.into_iter().filter(|(name, _)| name != "user-agent") {
            words.extend(["-H".to_owned(), format!("{name}: {value}")]);
        }
        words.extend(["--data-binary".to_owned(), String::from_utf8_lossy(&request.body).into_owned()]);
        Ok(shell_words::join(words))
    }

    fn request(&self, stack: &Stack, secrets: &Secrets) -> anyhow::Result<HttpRequest> {
        let local = local_secret(&self.function);
        let real = secrets.get(&self.function).unwrap_or(&local);
        let sample = self.clone().authenticated_by(real, now())?;
        let body = sample.body_bytes()?;
        let Self { event, .. } = sample;

        let mut url = stack.url(&self.function)?;
        for (name, value) in &event.path_parameters {
            // A deployed stack's route has the parameter, a local one's its value.
            url = url.replace(&format!("{{{name}}}"), value).replace(&local, value);
        }
        let headers = event.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        // The client says these itself.
        let mut headers: BTreeMap<String, String> =
            headers.filter(|(name, _)| !["host", "content-length"].contains(&name.as_str())).collect();
        headers.extend(stack.host_header.iter().map(|host| ("host".to_owned(), host.clone())));
        Ok(HttpRequest { method: event.request_context.http.method, url, headers, body })
    }
}

/// Sets what a JSON pointer points to. None if what is around it is not there.
fn set(json: &mut Value, pointer: &str, value: &str) -> Option<()> {
    let text = || Value::String(value.to_owned());
    let new = match json.pointer(pointer) {
        Some(Value::String(_)) => text(),
        _ => serde_json::from_str(value).unwrap_or_else(|_| text()),
    };
    if let Some(there) = json.pointer_mut(pointer) {
        *there = new;
        return Some(());
    }
    let (around, name) = pointer.rsplit_once('/')?;
    let name = name.replace("~1", "/").replace("~0", "~");
    json.pointer_mut(around)?.as_object_mut()?.insert(name, new);
    Some(())
}

/// A form with another value of a field, which may be new.
fn with_form_field(form: &str, field: &str, value: &str) -> String {
    let mut pairs: Vec<_> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    if !pairs.iter().any(|(name, _)| name == field) {
        pairs.push((field.to_owned(), String::new()));
    }
    let pairs = pairs.iter().map(|(name, old)| (name, if name == field { value } else { old }));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

struct HttpRequest {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn list(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    if paths.is_empty() {
        bail!("there is nothing in {}", folder.display());
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(name: &str) -> Sample {
        Sample::read(&crate::project_root().unwrap().join("events").join(name).with_extension("json")).unwrap()
    }

    #[test]
    fn a_sample_has_the_credential_of_any_secret_and_what_is_wrong_stays_wrong() {
        for name in ["identomat/session-change-approved", "jumio/netverify-approved", "signicat/accepted"] {
            let sample = sample(name);
            let (local, now) = (local_secret(&sample.function), Timestamp::UNIX_EPOCH);
            let other = sample.clone().authenticated_by("another-secret", now).unwrap();
            assert!(sample.text.contains(&local) && !other.text.contains(&local), "{name}");
            assert_eq!(other.text, sample.text.replace(&local, "another-secret"), "{name}");
            assert_eq!(sample.clone().authenticated_by(&local, now).unwrap().text, sample.text);
        }
        let quoted = sample("signicat/accepted").authenticated_by("a\\\"", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(quoted.event.headers["authorization"], "a\\\"");
        let wrong = sample("signicat/refused-wrong-header");
        let again = wrong.clone().authenticated_by("another-secret", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(again.event.headers, wrong.event.headers);
    }

    #[test]
    fn another_body_keeps_the_rest() {
        let sample = sample("signicat/accepted").with_bytes(b"\xff");
        let event: Value = serde_json::from_str(&sample.text).unwrap();
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("/w=="), &json!(true)));
        assert_eq!(event["headers"]["authorization"], "local-signicat-secret");
    }

    #[track_caller]
    fn check_set(pointer: &str, value: &str, expected: &Value) {
        let mut json = json!({ "a": "1", "b": { "c": 2, "d/e": [0] } });
        let is_set = set(&mut json, pointer, value).is_some();
        assert_eq!(if is_set { json } else { Value::Null }, *expected, "{pointer}={value}");
    }

    #[test]
    fn a_field_of_json_is_set_by_its_pointer() {
        check_set("/a", "7", &json!({ "a": "7", "b": { "c": 2, "d/e": [0] } }));
        check_set("/b/c", "7", &json!({ "a": "1", "b": { "c": 7, "d/e": [0] } }));
        check_set("/b/c", "DENIED", &json!({ "a": "1", "b": { "c": "DENIED", "d/e": [0] } }));
        check_set("/b/d~1e/0", "true", &json!({ "a": "1", "b": { "c": 2, "d/e": [true] } }));
        check_set("/b/f~1", "x", &json!({ "a": "1", "b": { "c": 2, "d/e": [0], "f/": "x" } }));
        check_set("/x/y", "1", &Value::Null);
        check_set("/a/y", "1", &Value::Null);
    }

    #[test]
    fn a_field_of_a_form_is_set_by_its_name() {
        for (field, value, form) in
            [("b", "x&y", "a=1+2&b=x%26y&c="), ("a", "", "a=&b=%C3%BC&c="), ("d", "4", "a=1+2&b=%C3%BC&c=&d=4")]
        {
            assert_eq!(with_form_field("a=1+2&b=%c3%bc&c=", field, value), form);
        }
    }
}
