//! Playing the providers, and looking at what comes of it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use aws_sdk_sqs::types::MessageSystemAttributeName;
use futures_util::{StreamExt as _, future::try_join_all, stream};
use model::{Courses as _, Decision, Expectation, Message, Origin, StoredEvent, Timestamp};
use reqwest::Client;
use runtime::DynamoCourses;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    Play,
    made::Made,
    report::{Quantiles, Report, Times},
};
use crate::{
    doctor::Verdict,
    events::Events,
    held::Held,
    sample::{self, Answer, ExpectedEvent, Sample, Secrets},
    selection::now,
    stack::{Connections, Stack},
    step::{Interrupt, step},
    verifications,
    wallet::{Issuer, SigningKey},
};

/// How long to wait for what should come: what was spilled comes within a minute if all is well.
const PATIENCE: Duration = Duration::from_secs(75);

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// How long to wait for an answer. No provider waits that long.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How many verifications are looked at, at the same time.
const AT_ONCE: usize = 8;

/// By how much the body is larger that has to be stored in parts.
const LARGE: usize = 300_000;

/// How many callbacks are sent at once. API Gateway throttles none of them unless the stack's limits are lower.
pub(super) fn at_once(runs: u16) -> usize {
    usize::from(runs.min(10))
}

/// Plays the providers of one stack.
pub(super) struct Probe<'a> {
    stack: &'a Stack,
    connections: Connections,
    http: Client,
    /// The real secrets of the functions that were played so far.
    secrets: Secrets,
    /// Signs what has to be signed: for a deployed stack, as nobody whom it trusts.
    issuer: Issuer,
    events: Events,
    courses: DynamoCourses,
    prefix: &'a str,
    /// The verifications so far.
    verifications: Vec<Verification>,
    /// When callbacks were sent and received.
    receipts: Vec<Receipt>,
    made: &'a RefCell<Made>,
    report: &'a RefCell<Report>,
}

/// What callbacks are sent about.
#[derive(Debug, Clone)]
struct Verification {
    function: String,
    provider: String,
    subject: String,
}

/// A callback that was sent, and its answer.
struct Sent {
    verification: Verification,
    expected: ExpectedEvent,
    sent_at: Timestamp,
    took: Duration,
    answer: Answer,
    as_expected: bool,
}

/// When a callback was sent by the clock of this machine, and received by that of the gateway.
#[derive(Debug, Clone, Copy)]
struct Receipt {
    sent_at: Timestamp,
    received_at: Timestamp,
    took: Duration,
}

impl<'a> Probe<'a> {
    pub(super) async fn of(
        stack: &'a Stack,
        prefix: &'a str,
        made: &'a RefCell<Made>,
        report: &'a RefCell<Report>,
    ) -> anyhow::Result<Self> {
        let issuer = match &stack.wallet {
            Some(_) => Issuer::of(stack)?,
            None => {
                let (issuer, jwks_url) = ("https://prove.example.com", "https://prove.example.com/jwks.json");
                let (key, stranger) = (SigningKey::generate("prove")?, SigningKey::generate("prove")?);
                Issuer { issuer: issuer.to_owned(), jwks_url: jwks_url.to_owned(), key, stranger }
            }
        };
        let connections = stack.connect().await;
        let courses = DynamoCourses::new(connections.dynamodb.clone(), stack.verifications_table.clone());
        Ok(Self {
            stack,
            http: Client::builder().timeout(ANSWER_WITHIN).build().context("failed to make a client")?,
            secrets: Secrets::new(),
            issuer,
            events: Events::of(stack).await,
            courses,
            connections,
            prefix,
            verifications: Vec::new(),
            receipts: Vec::new(),
            made,
            report,
        })
    }

    /// Does everything but receive, and notes what it finds.
    pub(super) async fn all(&mut self, plays: &[Play], runs: u16) {
        for play in plays {
            let doing = format!("playing the provider of {}", play.function);
            if let Err(error) = step(&doing, self.play(play, runs)).await {
                self.note(&play.function, "played to the end", Verdict::Wrong, format!("{error:#}"));
            }
        }
        let signed = [("expectations", "announcing"), ("verifications", "asking")];
        for (function, doing) in signed.into_iter().filter(|(function, _)| self.stack.routes.contains_key(*function)) {
            let unsigned = step(&format!("{doing} without a signature"), self.unsigned(function)).await;
            self.note_result(function, "refused without a signature", unsigned);
        }
        if let Some(play) = plays.iter().find(|play| play.accepted.is_json() && self.was_accepted(play)) {
            let found = step("asking about an unusual subject", self.unusual_subject(play)).await;
            self.note_result("verifications", "finds a subject with a slash, a blank and a per cent sign", found);
        }
        let (is_good, about) = received_at_once(&self.receipts).unwrap_or_else(|| {
            (false, "no answer took so long that it could be told: try again when no instance is warm".to_owned())
        });
        // What takes long on the way to the gateway looks the same.
        let verdict = if is_good { Verdict::Good } else { Verdict::Look };
        self.note("every function", "a cold start does not change the time of receipt", verdict, about);
    }

    fn note(&self, function: &str, check: impl Into<String>, verdict: Verdict, about: String) {
        self.report.borrow_mut().note(function, check, verdict, about);
    }

    /// Notes something that is wrong if it says why.
    fn note_result(&self, function: &str, check: &str, result: anyhow::Result<Result<(), String>>) {
        let (verdict, about) = match result {
            Ok(Ok(())) => (Verdict::Good, String::new()),
            Ok(Err(wrong)) => (Verdict::Wrong, wrong),
            Err(error) => (Verdict::Wrong, format!("{error:#}")),
        };
        self.note(function, check, verdict, about);
    }

    /// What times mean: those of a local stack are its machine's.
    fn in_time(&self, is_good: bool) -> Verdict {
        match is_good {
            true => Verdict::Good,
            false if self.stack.endpoint_url.is_some() => Verdict::Look,
            false => Verdict::Wrong,
        }
    }

    /// Whether a callback of this play got through.
    fn was_accepted(&self, play: &Play) -> bool {
        self.report.borrow().times.contains_key(&play.function)
    }

    async fn play(&mut self, play: &Play, runs: u16) -> anyhow::Result<()> {
        let function = &play.function;
        if let Some(secret) = self.stack.secrets.get(function) {
            let secrets = [(function.clone(), secret.clone())].into();
            match sample::secrets(&Stack { secrets, ..self.stack.clone() }, &self.connections).await {
                Ok(secrets) => self.secrets.extend(secrets),
                Err(error) => {
                    self.note(function, "has a secret that you may read", Verdict::Wrong, format!("{error:#}"));
                    return Ok(());
                }
            }
        }
        for sample in &play.refused {
            let refused = self.refusal(sample).await;
            self.note_result(function, &format!("{} is refused", sample.name()), refused);
        }
        let Some(first) = self.acceptance(play).await? else { return Ok(()) };
        if play.takes_large_bodies {
            let large = self.large_body(play).await;
            self.note_result(function, "a body that is too large for one item is stored in parts", large);
        }
        self.measure(play, runs, first).await
    }

    /// Sends what has to be refused. Returns what is wrong, if anything.
    async fn refusal(&mut self, sample: &Sample) -> anyhow::Result<Result<(), String>> {
        // Nothing else is announced like this, so it can be deleted afterwards.
        let sample = sample.clone().announced_as(&format!("{}{}", self.prefix, sample.name().replace('/', "-")));
        let sample = self.announced_and_signed(sample).await?;
        let answer = sample.send(&self.http, self.stack, &self.secrets).await?;
        Ok(match unexpected(&sample, &answer) {
            _ if sample.expects(&answer) => Ok(()),
            // It is about what the file says, since that is nowhere else to be known.
            wrong if answer.status == 200 => Err(format!("{wrong}. It is stored: see callbacks list --since 10m")),
            wrong => Err(wrong),
        })
    }

    /// Sends a callback that has to be accepted, twice, and looks where it comes. None if it gets no further.
    async fn acceptance(&mut self, play: &Play) -> anyhow::Result<Option<Sent>> {
        let function = &play.function;
        let sample = self.fresh(play).await?;
        let check = format!("{} is acknowledged", sample.name());
        let first = self.send(&sample).await?;
        if !first.as_expected {
            let may_be_the_address = play.refused.iter().any(|refused| refused.expect.status == first.answer.status)
                && first.answer.status == 403;
            let (verdict, about) = if may_be_the_address {
                let about = "answered 403: the function accepts the provider's addresses only, and this machine has \
                             another one. So nothing else can be found out about it from here";
                (Verdict::Look, about.to_owned())
            } else {
                (Verdict::Wrong, unexpected(&sample, &first.answer))
            };
            self.note(function, check, verdict, about);
            return Ok(None);
        }
        let again = self.send(&sample).await?;
        let is_good = again.as_expected;
        let about = if is_good { String::new() } else { unexpected(&sample, &again.answer) };
        self.note(function, check, if is_good { Verdict::Good } else { Verdict::Wrong }, about);

        let stored = self.stored(&first.verification.subject, 2).await?;
        let wrong = match stored.as_slice() {
            events if events.len() < 2 => Some(format!("{} of 2 events are in the table", events.len())),
            events if events.iter().any(|event| ExpectedEvent::from(event) != first.expected) => {
                Some("what is in the table is not what the sample says".to_owned())
            }
            _ => None,
        };
        self.note_result(function, "each callback is stored", Ok(wrong.map_or(Ok(()), Err)));
        if stored.iter().any(|event| event.drained_at.is_some()) {
            let about = "it came into the table by the spill queue: the table did not take it in time".to_owned();
            self.note(function, "stored at once", Verdict::Look, about);
        }
        let Some(id) = stored.first().map(|event| event.id.clone()) else { return Ok(None) };
        let standing = self.standing(&first, &id).await;
        self.note_result(function, "the first one is published, and the API says where it stands", standing);
        Ok(Some(first))
    }

    /// Asks the API until it says that the first of two equal callbacks was published. Returns what it says else.
    async fn standing(&self, first: &Sent, id: &str) -> anyhow::Result<Result<(), String>> {
        let began = Instant::now();
        loop {
            let Verification { provider, subject, .. } = &first.verification;
            let fetched = verifications::fetch(&self.http, self.stack, &self.connections, provider, subject).await?;
            match not_as_expected(fetched.as_ref(), &first.expected, id) {
                None => return Ok(Ok(())),
                Some(wrong) if began.elapsed() > PATIENCE => return Ok(Err(wrong)),
                Some(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Sends a callback whose body does not fit an item. Returns what is wrong, if anything.
    async fn large_body(&mut self, play: &Play) -> anyhow::Result<Result<(), String>> {
        let verification = self.verification(play, "");
        let sample = self.prepare(&play.accepted.clone().padded(LARGE), &verification).await?;
        let sent = self.send(&sample).await?;
        if !sent.as_expected {
            return Ok(Err(unexpected(&sample, &sent.answer)));
        }
        let stored = self.stored(&verification.subject, 1).await?;
        let Some(event) = stored.first() else { return Ok(Err("it is not in the table".to_owned())) };
        let Some(parts) = event.parts else { return Ok(Err("it is one item".to_owned())) };
        let whole = self.events.find(&event.id, Some(&verification.subject)).await?;
        let is_whole = whole.body.len() >= LARGE / 10 * 9;
        Ok(if is_whole { Ok(()) } else { Err(format!("{parts} parts have {} bytes only", whole.body.len())) })
    }

    /// Sends callbacks at once and one after the other, and notes how long it took.
    async fn measure(&mut self, play: &Play, runs: u16, first: Sent) -> anyhow::Result<()> {
        let function = &play.function;
        let mut samples = Vec::new();
        for _ in 0..at_once(runs) {
            samples.push(self.fresh(play).await?);
        }
        let at_once = try_join_all(samples.iter().map(|sample| self.send(sample))).await?;
        let mut in_turn = Vec::new();
        for _ in 0..runs {
            let sample = self.fresh(play).await?;
            in_turn.push(self.send(&sample).await?);
        }

        let all: Vec<&Sent> = [&first].into_iter().chain(&at_once).chain(&in_turn).collect();
        let wrong: Vec<&&Sent> = all.iter().filter(|sent| !sent.as_expected).collect();
        let answers = match wrong.first() {
            None => Ok(()),
            Some(one) => {
                let (status, body) = (one.answer.status, &one.answer.body);
                Err(format!("{} of them were answered otherwise, such as {status} {body}", wrong.len()))
            }
        };
        self.note_result(function, &format!("{} more callbacks are acknowledged", all.len() - 1), Ok(answers));
        let slowest = all.iter().map(|sent| sent.took).max().unwrap_or_default();
        let about = format!("the slowest answer took {slowest:.0?}, and the provider waits {:?}", play.answer_within);
        let is_in_time = slowest < play.answer_within;
        self.note(function, "answers come in time", self.in_time(is_in_time), about);

        let accepted: Vec<&Sent> = all.iter().copied().filter(|sent| sent.as_expected).collect();
        let decisions = self.decided(&accepted).await?;
        let undecided = accepted.len() - decisions.len();
        let all_decided = match undecided {
            0 => Ok(()),
            _ => Err(format!("{undecided} of {} are not, after {PATIENCE:?}", accepted.len())),
        };
        self.note_result(function, "all of them are decided about", Ok(all_decided));
        let mut receipts = Vec::new();
        let mut decided = Vec::new();
        for (sent, decision) in &decisions {
            let received_at = decision.received_at;
            receipts.push(Receipt { sent_at: sent.sent_at, received_at, took: sent.took });
            // Of a verification's first message, it is the time at which it was decided.
            let sequence = decision.published.as_ref().map(|published| published.sequence).unwrap_or_default();
            let received = u64::try_from(received_at.as_millisecond()).unwrap_or_default();
            decided.push(Duration::from_millis(sequence.saturating_sub(received)));
        }
        let times = Times {
            first: Quantiles::of([first.took]),
            at_once: Quantiles::of(at_once.iter().map(|sent| sent.took)),
            in_turn: Quantiles::of(in_turn.iter().map(|sent| sent.took)),
            decided: Quantiles::of(decided),
            in_queue: None,
        };
        self.receipts.extend(receipts);
        self.report.borrow_mut().times.insert(function.clone(), times);
        Ok(())
    }

    /// The first decision about each verification that callbacks were sent about, as soon as there is one.
    async fn decided<'s>(&self, sent: &[&'s Sent]) -> anyhow::Result<Vec<(&'s Sent, Decision)>> {
        let began = Instant::now();
        let (mut waiting, mut decided) = (sent.to_vec(), Vec::new());
        while !waiting.is_empty() && began.elapsed() < PATIENCE {
            let looking = std::mem::take(&mut waiting).into_iter().map(async |sent| {
                let decisions = self.decisions(&sent.verification).await;
                (sent, decisions)
            });
            let looked: Vec<_> = stream::iter(looking).buffer_unordered(AT_ONCE).collect().await;
            for (sent, decisions) in looked {
                match decisions?.into_iter().next() {
                    Some(decision) => decided.push((sent, decision)),
                    None => waiting.push(sent),
                }
            }
            sleep(PAUSE).await;
        }
        Ok(decided)
    }

    /// What was decided about a verification, in the order of receipt.
    async fn decisions(&self, verification: &Verification) -> anyhow::Result<Vec<Decision>> {
        let rows = self.courses.of_verification(&verification.provider, &verification.subject).await;
        let rows = rows.context("failed to read the verifications table")?;
        Ok(rows.into_iter().flat_map(|(_, row)| row.decisions).collect())
    }

    /// Calls a route of the company's own services without a signature. Returns what is wrong, if anything.
    async fn unsigned(&self, function: &str) -> anyhow::Result<Result<(), String>> {
        let url = self.stack.url(function)?.replace("{provider}", "verifyvasp").replace("{subject}", self.prefix);
        let request = if function == "expectations" { self.http.put(url).body("{}") } else { self.http.get(url) };
        let status = request.send().await.context("no answer")?.status().as_u16();
        Ok(if status == 403 { Ok(()) } else { Err(format!("answered {status}")) })
    }

    /// Asks about a verification whose subject a path has to escape. Returns what is wrong, if anything.
    async fn unusual_subject(&mut self, play: &Play) -> anyhow::Result<Result<(), String>> {
        let verification = self.verification(play, " 50%41/\u{fc}+&");
        let sample = self.prepare(&play.accepted, &verification).await?;
        let sent = self.send(&sample).await?;
        if !sent.as_expected {
            return Ok(Err(unexpected(&sample, &sent.answer)));
        }
        self.decided(&[&sent]).await?;
        let Verification { provider, subject, .. } = &verification;
        let fetched = verifications::fetch(&self.http, self.stack, &self.connections, provider, subject).await?;
        Ok(match fetched.as_ref().and_then(|answer| answer.get("subject")) {
            Some(found) if found == subject => Ok(()),
            Some(found) => Err(format!("it found {found}")),
            None => Err("it is not found".to_owned()),
        })
    }

    /// Looks for every message of this run in the queue, and takes it out.
    pub(super) async fn receive(&self, interrupt: &Interrupt) -> anyhow::Result<()> {
        let mut held = Held::new(&self.connections, &self.stack.verification_queue_url);
        let received = self.receive_from(&mut held, interrupt).await;
        let released = held.release().await;
        let in_queue = match received.and_then(|in_queue| released.map(|()| in_queue)) {
            Ok(in_queue) => in_queue,
            Err(error) => {
                self.note("every function", "its messages are in the queue", Verdict::Wrong, format!("{error:#}"));
                return Ok(());
            }
        };
        for (function, times) in in_queue {
            if let Some(of_function) = self.report.borrow_mut().times.get_mut(&function) {
                of_function.in_queue = Quantiles::of(times);
            }
        }
        Ok(())
    }

    /// Returns how long the messages of each function took into the queue.
    async fn receive_from(
        &self,
        held: &mut Held,
        interrupt: &Interrupt,
    ) -> anyhow::Result<BTreeMap<String, Vec<Duration>>> {
        let mut expected = BTreeMap::new();
        for verification in &self.verifications {
            for decision in self.decisions(verification).await? {
                if let Some(published) = decision.published.clone() {
                    expected.insert(decision.id.clone(), (verification, decision, published));
                }
            }
        }
        let (mut in_queue, mut wrong) = (BTreeMap::<String, Vec<Duration>>::new(), BTreeMap::<&str, usize>::new());
        let mut last_new = Instant::now();
        while !expected.is_empty() && last_new.elapsed() < PATIENCE && !interrupt.came() {
            for received in held.receive().await? {
                let Ok(message) = serde_json::from_str::<Message>(received.body().unwrap_or_default()) else {
                    continue;
                };
                let Some((verification, decision, published)) = expected.remove(&message.id) else { continue };
                last_new = Instant::now();
                held.delete(&received).await?;
                let is_as_decided = message.sequence == published.sequence_text()
                    && message.outcome == published.outcome
                    && message.subject == verification.subject;
                if !is_as_decided {
                    *wrong.entry(verification.function.as_str()).or_default() += 1;
                }
                let sent_at = received.attributes().and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp));
                let sent_at = sent_at.and_then(|sent_at| sent_at.parse().ok());
                let took = sent_at.unwrap_or_else(|| now().as_millisecond()) - decision.received_at.as_millisecond();
                let took = Duration::from_millis(u64::try_from(took).unwrap_or_default());
                in_queue.entry(verification.function.clone()).or_default().push(took);
            }
        }
        let mut missing = BTreeMap::<&str, usize>::new();
        for (verification, ..) in expected.values() {
            *missing.entry(verification.function.as_str()).or_default() += 1;
        }
        let functions: BTreeSet<&str> = self.verifications.iter().map(|made| made.function.as_str()).collect();
        for function in functions {
            let count = in_queue.get(function).map(Vec::len).unwrap_or_default();
            let (verdict, about) = match (missing.get(function), wrong.get(function)) {
                _ if count == 0 && !missing.contains_key(function) => continue,
                (None, None) => (Verdict::Good, format!("{count} messages")),
                (Some(missing), _) if interrupt.came() => (Verdict::Look, format!("interrupted before {missing}")),
                (Some(missing), _) => (
                    Verdict::Wrong,
                    format!("{missing} of {} were not received: does somebody else consume?", count + missing),
                ),
                (None, Some(wrong)) => (Verdict::Wrong, format!("{wrong} of {count} are not what was decided")),
            };
            self.note(function, "its messages are in the queue", verdict, about);
        }
        Ok(in_queue)
    }

    /// Another verification of a function's provider.
    fn verification(&mut self, play: &Play, more: &str) -> Verification {
        let event = play.accepted.expect.event.as_ref();
        let provider = event.and_then(|event| event.kind.split('.').next()).unwrap_or_default().to_owned();
        let subject = format!("{}{}-{}{more}", self.prefix, play.function, self.verifications.len());
        let verification = Verification { function: play.function.clone(), provider, subject };
        self.verifications.push(verification.clone());
        verification
    }

    /// What has to be accepted, about another verification.
    async fn fresh(&mut self, play: &Play) -> anyhow::Result<Sample> {
        let verification = self.verification(play, "");
        self.prepare(&play.accepted, &verification).await
    }

    /// A sample about this verification as it can be sent, noted as something to be deleted.
    async fn prepare(&self, sample: &Sample, verification: &Verification) -> anyhow::Result<Sample> {
        let sample = sample.about(&verification.subject).context("the sample is about no verification")?;
        self.made.borrow_mut().note_verification(&verification.provider, &verification.subject);
        self.announced_and_signed(sample).await
    }

    async fn announced_and_signed(&self, sample: Sample) -> anyhow::Result<Sample> {
        if let Some(announcement) = sample.announcement() {
            self.made.borrow_mut().note_code(Expectation::code_hash(&announcement.code));
        }
        let (sample, announced) = sample.announced(&self.http, self.stack, &self.connections).await?;
        // The announcement is an event of its own, also where its callback is refused.
        if let Some(subject) = announced {
            self.made.borrow_mut().note_acknowledged("wallet", &subject);
        }
        if sample.has_tokens() { sample.signed_by(&self.issuer) } else { Ok(sample) }
    }

    async fn send(&self, sample: &Sample) -> anyhow::Result<Sent> {
        let Some(expected) = sample.expect.event.clone() else { bail!("{} is to be refused", sample.name()) };
        let is_of = |verification: &&Verification| verification.subject == expected.subject;
        let verification = self.verifications.iter().find(is_of).context("a callback about nothing")?.clone();
        let (sent_at, began) = (now(), Instant::now());
        let answer = sample.send(&self.http, self.stack, &self.secrets).await?;
        let took = began.elapsed();
        if answer.status == 200 {
            self.made.borrow_mut().note_acknowledged(&verification.provider, &verification.subject);
        }
        let as_expected = sample.expects(&answer);
        Ok(Sent { verification, expected, sent_at, took, answer, as_expected })
    }

    /// The callbacks of a verification, as soon as there are so many, in the order of receipt. Its announcement is none.
    async fn stored(&self, subject: &str, count: usize) -> anyhow::Result<Vec<StoredEvent>> {
        let began = Instant::now();
        loop {
            let mut events = self.events.of_subject(subject).await?;
            events.retain(|event| event.origin() == Origin::Callback);
            if events.len() >= count || began.elapsed() > PATIENCE {
                return Ok(events);
            }
            sleep(PAUSE).await;
        }
    }
}

fn unexpected(sample: &Sample, answer: &Answer) -> String {
    let (status, body) = (sample.expect.status, &sample.expect.body);
    format!("answered {} {}, not {status} {body}", answer.status, answer.body)
}

/// What is wrong with what the API says of a verification of two equal callbacks, of which this is the first.
fn not_as_expected(answer: Option<&Value>, expected: &ExpectedEvent, id: &str) -> Option<String> {
    let Some(answer) = answer else { return Some("the API knows nothing of it".to_owned()) };
    let list = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (tracks, published) = (list("verifications"), list("events"));
    let ([track], [message]) = (tracks.as_slice(), published.as_slice()) else {
        return Some(format!("{} tracks and {} messages, not one of each", tracks.len(), published.len()));
    };
    let outcome = expected.outcome.as_str();
    for (what, is, should_be) in [
        ("callbacks", track.get("callbacks"), Value::from(2)),
        ("outcome of the track", track.get("outcome"), Value::from(outcome)),
        ("outcome of the message", message.get("outcome"), Value::from(outcome)),
        ("id of the message", message.get("id"), Value::from(id)),
    ] {
        if is != Some(&should_be) {
            let is = is.cloned().unwrap_or_default();
            return Some(format!("the {what} should be {should_be}, and is {is}"));
        }
    }
    None
}

/// Whether even the callback that waited longest for its answer was received when it was sent: then a cold start does not
/// change the time of receipt. None if there are too few callbacks to tell.
fn received_at_once(receipts: &[Receipt]) -> Option<(bool, String)> {
    const LONG: Duration = Duration::from_millis(100);
    let after = |receipt: &Receipt| receipt.received_at.as_millisecond() - receipt.sent_at.as_millisecond();
    // The clocks differ by as much at most.
    let apart = receipts.iter().map(after).min()?;
    let slowest = receipts.iter().max_by_key(|receipt| receipt.took)?;
    let fastest = receipts.iter().map(|receipt| receipt.took).min()?;
    let waited = slowest.took.checked_sub(fastest)?;
    if waited < LONG {
        return None;
    }
    let after = Duration::from_millis(u64::try_from(after(slowest) - apart).unwrap_or_default());
    let about = format!(
        "the slowest answer took {:.0?}, and its callback was received {after:.0?} later than others were",
        slowest.took
    );
    Some((after < waited / 2, about))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn receipt(sent_ms: i64, received_ms: i64, took_ms: u64) -> Receipt {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        Receipt { sent_at: at(sent_ms), received_at: at(received_ms), took: Duration::from_millis(took_ms) }
    }

    #[test]
    fn a_cold_start_does_not_change_the_time_of_receipt() {
        let is_good = |receipts: &[Receipt]| received_at_once(receipts).map(|(is_good, _)| is_good);
        // The clock of the gateway is 5 s ahead.
        let warm = receipt(1000, 6020, 40);
        assert_eq!(is_good(&[warm, receipt(2000, 7030, 900)]), Some(true));
        assert_eq!(is_good(&[warm, receipt(2000, 7830, 900)]), Some(false));
        assert_eq!(is_good(&[warm, receipt(2000, 7030, 130)]), None, "no answer took long");
        assert_eq!(is_good(&[]), None);
    }

    #[test]
    fn the_api_has_to_say_what_was_published() {
        let expected = ExpectedEvent {
            kind: "example.kind".to_owned(),
            subject: "s".to_owned(),
            outcome: model::Outcome::Rejected,
            reasons: Vec::new(),
            unrecognized: None,
            delivery: false,
        };
        let answer = json!({
            "verifications": [{ "outcome": "rejected", "callbacks": 2 }],
            "events": [{ "id": "first", "outcome": "rejected" }],
        });
        let wrong = |change: &dyn Fn(&mut Value)| {
            let mut answer = answer.clone();
            change(&mut answer);
            not_as_expected(Some(&answer), &expected, "first")
        };
        assert_eq!(wrong(&|_| {}), None);
        assert!(not_as_expected(None, &expected, "first").is_some());
        assert!(wrong(&|answer| answer["verifications"][0]["callbacks"] = json!(1)).is_some());
        assert!(wrong(&|answer| answer["verifications"][0]["outcome"] = json!("approved")).is_some());
        assert!(wrong(&|answer| answer["events"][0]["id"] = json!("second")).is_some());
        assert!(wrong(&|answer| answer["events"] = json!([])).is_some());
        let twice = |answer: &mut Value| answer["events"] = json!([{ "id": "first" }, { "id": "second" }]);
        assert!(wrong(&twice).is_some(), "a repeat is not published");
    }
}
