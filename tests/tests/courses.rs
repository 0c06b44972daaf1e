//! Courses that once ended wrong, through the real functions, the real stream and the real queues: what consumers hear, and
//! where the verification stands.

use std::time::Duration;

use cli::{
    local::{Folder, Lifetime, LocalStack},
    verifications,
    wallet::{Announcement, Issuer, announce},
};
use model::{Message, Outcome, Purpose};
use reqwest::Client;
use serde_json::{Value, json};
use tests::{Fault, Function, Hosted, Proxy, System, accepted, authentic, callbacks, free_port, with_body};

/// One stack for all courses: each is about a verification of its own, and leaves the queues empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_course_ends_as_it_should() {
    let folder = Folder::named("courses").unwrap();
    let local = LocalStack::start(folder, Some(free_port()), Lifetime::Attached).await.unwrap();
    let system = System::of(&local.stack).await;

    let session = Track { function: "identomat", provider: "identomat", track: "session-change" };
    session.course(&system, "R | spill A | R | drain", "rejected; none~ (approved)", "rejected").await;
    session.course(&system, "A | spill A | R | drain", "approved; rejected", "rejected").await;
    session.course(&system, "R | B | R", "rejected; none; rejected*", "rejected").await;
    session.course(&system, "A | B | A", "approved; none; approved*", "approved").await;
    session.course(&system, "A | R | A", "approved; rejected; approved*", "approved").await;
    session.course(&system, "A | A | A", "approved", "approved").await;

    let process = Track { function: "signicat", provider: "signicat", track: "process-status" };
    process
        .course(&system, "rejected | accepted | rejected", "rejected; review! (approved); rejected*!", "rejected")
        .await;
    process.course(&system, "accepted | pending", "approved; none~ (pending)", "approved").await;
    process.course(&system, "spill accepted | pending | drain", "pending; approved", "approved").await;
    process.course(&system, "accepted | spill pending | drain", "approved; none~ (pending)", "approved").await;
    process.course(&system, "spill rejected | accepted | drain", "approved; review! (rejected)", "review").await;

    let result = Track { function: "verifyvasp", provider: "verifyvasp", track: "verification" };
    result.course(&system, "DENIED | VERIFIED | DENIED", "rejected; approved!; rejected*!", "rejected").await;
    result.course(&system, "DENIED name | DENIED address | DENIED address", "rejected; rejected", "rejected").await;

    let scan = Track { function: "jumio", provider: "jumio", track: "netverify-id" };
    scan.course(&system, "images | images in another order", "approved", "approved").await;

    a_password_reaches_everybody_it_is_for(&system).await;
    a_link_is_delivered_again_when_the_first_has_expired(&system).await;
    what_is_not_understood_under_two_codes_is_two_events(&system).await;
    what_comes_back_from_the_dead_letters_is_older_by_its_sequence(&system).await;
    what_was_given_up_long_ago_is_published(&system).await;
    rows_are_rebuilt_from_the_events(&system).await;
    a_token_counts_for_one_code_also_after_a_crash_and_a_rebuild(&system).await;
}

/// A track of a provider, whose callbacks are short words here.
struct Track {
    function: &'static str,
    provider: &'static str,
    track: &'static str,
}

impl Track {
    /// A callback about this verification, as its gateway event.
    fn callback(&self, says: &str, subject: &str) -> Value {
        let body = match self.function {
            "identomat" => {
                let result = [("A", "APPROVED"), ("R", "REJECTED"), ("B", "BLOCKED")];
                let (_, result) = result.into_iter().find(|(word, _)| *word == says).unwrap();
                json!({ "type": "session-change", "sessionId": subject, "result": result }).to_string()
            }
            "signicat" => json!({ "dossierId": "d", "processId": subject, "status": says }).to_string(),
            "verifyvasp" => {
                let (result, message) = says.split_once(' ').unwrap_or((says, ""));
                let data = json!({ "verificationUuid": subject, "result": result, "message": message });
                json!({ "callbackType": "VERIFICATION_RESULT", "data": data }).to_string()
            }
            "jumio" => {
                let (images, face) = match says {
                    "images" => (
                        r#"["https://example.com/1","https://example.com/2"]"#,
                        r#""similarity":"MATCH","validity":true"#,
                    ),
                    _ => (
                        r#"["https://example.com/2","https://example.com/1"]"#,
                        r#""validity":true,"similarity":"MATCH""#,
                    ),
                };
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.append_pair("callBackType", "NETVERIFYID").append_pair("jumioIdScanReference", subject);
                form.append_pair("verificationStatus", "APPROVED_VERIFIED").append_pair("livenessImages", images);
                form.append_pair("identityVerification", &format!("{{{face}}}"));
                form.finish()
            }
            other => panic!("{other}"),
        };
        authentic(self.function, body.as_bytes()).unwrap()
    }

    /// Sends callbacks, of which some are spilled until the drain is let go, and compares the messages that come of them and
    /// where the verification stands in the end.
    async fn course(&self, system: &System<'_>, steps: &str, messages: &str, stands: &str) {
        // What comes late is what is late here: each callback is received some milliseconds after the one before.
        let subject = format!("{}-{}", self.function, steps.replace(|c: char| !c.is_alphanumeric(), "-"));
        for step in steps.split(" | ") {
            tokio::time::sleep(Duration::from_millis(5)).await;
            match step.strip_prefix("spill ") {
                _ if step == "drain" => system.drain_all().await,
                Some(says) => {
                    let proxy = &system.providers[self.function].proxy;
                    proxy.inject(&["PutItem"], 0..usize::MAX, Fault::Failed);
                    invoke(system, self.function, self.callback(says, &subject)).await;
                    assert!(proxy.lift() > 0);
                }
                None => {
                    invoke(system, self.function, self.callback(step, &subject)).await;
                    system.publish_all().await;
                }
            }
        }
        system.publish_all().await;
        let received = system.received().await;
        let said: Vec<String> = received.iter().map(said).collect();
        assert_eq!(said.join("; "), messages, "{steps}");
        assert!(received.iter().all(|message| message.data.track == self.track), "{steps}");
        assert_eq!(held(&received).as_str(), stands, "{steps}");
        self.check_standing(system, &subject, stands, &received).await;
    }

    /// Compares what the API says with what was received.
    async fn check_standing(&self, system: &System<'_>, subject: &str, stands: &str, received: &[Message]) {
        let http = Client::new();
        let fetch = verifications::fetch(&http, system.stack, &system.connections, self.provider, subject).await;
        let answer = fetch.unwrap().unwrap();
        assert_eq!((&answer["provider"], &answer["subject"]), (&json!(self.provider), &json!(subject)));
        let tracks = answer["verifications"].as_array().unwrap();
        assert_eq!(tracks.len(), 1);
        assert_eq!((&tracks[0]["track"], &tracks[0]["outcome"]), (&json!(self.track), &json!(stands)));
        let mut published: Vec<(&Value, &Value)> =
            answer["events"].as_array().unwrap().iter().map(|event| (&event["sequence"], &event["outcome"])).collect();
        published.sort_by_key(|(sequence, _)| sequence.as_str());
        let expected: Vec<(Value, Value)> =
            received.iter().map(|message| (json!(message.sequence), json!(message.outcome))).collect();
        assert!(published.into_iter().eq(expected.iter().map(|(sequence, outcome)| (sequence, outcome))), "{answer}");
    }
}

/// What a message says: `*` is repeated, `~` is late, `!` is a conflict, and the callback's own verdict if it is another.
fn said(message: &Message) -> String {
    let data = &message.data;
    let flags = [(data.repeated, "*"), (data.late, "~"), (data.conflict, "!")];
    let flags: String = flags.into_iter().filter_map(|(is, flag)| is.then_some(flag)).collect();
    let own = data.reported_outcome.map(|own| format!(" ({})", own.as_str())).unwrap_or_default();
    format!("{}{flags}{own}", message.outcome.as_str())
}

/// What a consumer holds after these messages.
fn held(messages: &[Message]) -> Outcome {
    let verdicts = messages.iter().filter(|message| message.outcome != Outcome::None);
    verdicts.max_by_key(|message| &message.sequence).map_or(Outcome::None, |message| message.outcome)
}

/// Has a function receive a callback now.
async fn invoke(system: &System<'_>, function: &str, event: Value) {
    receive(&system.providers[function].function, event).await;
}

async fn receive(function: &Function, mut event: Value) {
    event["requestContext"]["http"]["sourceIp"] = "127.0.0.1".into();
    event["requestContext"]["timeEpoch"] = runtime::now().as_millisecond().into();
    let answer = function.invoke(&event.to_string()).await.unwrap();
    assert_eq!(answer["statusCode"], 200, "{answer}");
}

fn delivery(kind: &str, session: &str, to: &str, text: &str) -> Value {
    let body = json!({ "type": kind, "sessionId": session, "phoneNumber": to, "text": text, "sessionLink": text });
    authentic("identomat", body.to_string().as_bytes()).unwrap()
}

async fn a_password_reaches_everybody_it_is_for(system: &System<'_>) {
    for kind in ["one-time-password", "share-session-link-via-sms"] {
        for (to, text) in [("+000", "1"), ("+001", "1"), ("+000", "1"), ("+001", "2")] {
            invoke(system, "identomat", delivery(kind, "everybody", to, text)).await;
        }
        system.publish_all().await;
        let mut sent: Vec<(String, String)> = Vec::new();
        for message in system.received().await {
            let text = |name: &str| message.data.details[name].as_str().unwrap().to_owned();
            sent.push((text("to"), text("text")));
        }
        sent.sort();
        let expected = [("+000", "1"), ("+001", "1"), ("+001", "2")].map(|(to, text)| (to.to_owned(), text.to_owned()));
        assert_eq!(sent, expected, "{kind}");
    }
}

async fn a_link_is_delivered_again_when_the_first_has_expired(system: &System<'_>) {
    const LIFE: u64 = 10;
    let proxy = Proxy::start(system.stack.endpoint_url.clone().unwrap()).await;
    let function = Function::of(system.stack, "identomat", &proxy.endpoint_url).await;
    let short_lived = Hosted { function: function.with_variable("PERISHABLE_SECONDS", &LIFE.to_string()), proxy };
    let link = || delivery("share-session-link-via-sms", "expired", "+000", "https://example.com");
    for expected in [1, 0] {
        receive(&short_lived.function, link()).await;
        system.publish_all().await;
        assert_eq!(system.received().await.len(), expected);
    }
    tokio::time::sleep(Duration::from_secs(LIFE)).await;
    receive(&short_lived.function, link()).await;
    system.publish_all().await;
    assert_eq!(system.received().await.len(), 1);
}

async fn what_is_not_understood_under_two_codes_is_two_events(system: &System<'_>) {
    let http = Client::new();
    for code in ["code-of-the-courses-1", "code-of-the-courses-2"] {
        let announcement = Announcement {
            purpose: Purpose::Issuance,
            code: code.to_owned(),
            state: Some("two-codes".to_owned()),
            template_ids: vec!["1".to_owned()],
            due_at: None,
        };
        let (status, answer) = announce(&http, system.stack, &system.connections, &announcement).await.unwrap();
        assert_eq!(status, 201, "{answer}");
        // Without a status.
        let body = json!({ "code": code, "state": "two-codes", "template_id": 1, "completed": true });
        let event = with_body(&accepted("wallet-issuance"), body.to_string().as_bytes());
        invoke(system, "wallet-issuance", event).await;
    }
    system.publish_all().await;
    let received = system.received().await;
    assert_eq!(received.len(), 2);
    for message in received {
        assert_eq!((message.kind(), message.data.track.as_str()), ("wallet.unrecognized", "issuance/1"));
    }
}

async fn what_comes_back_from_the_dead_letters_is_older_by_its_sequence(system: &System<'_>) {
    let session = Track { function: "identomat", provider: "identomat", track: "session-change" };
    let subject = "dead-letters";
    invoke(system, "identomat", session.callback("A", subject)).await;
    system.publish_all().await;
    let sqs = &system.connections.sqs;
    let dead = system.take(&system.stack.verification_queue_url).await.remove(0);
    let send = sqs.send_message().queue_url(&system.stack.verification_dead_letters_url).message_body(&dead);
    send.message_group_id(subject).message_deduplication_id("dead").send().await.unwrap();

    invoke(system, "identomat", session.callback("R", subject)).await;
    system.publish_all().await;
    let mut received = system.received().await;
    let (code, redriven) = callbacks(system.stack, &["redrive", "verdicts", "--json"]).await;
    assert!(code == 0 && redriven.contains(r#""done":"sent""#), "{redriven}");
    received.extend(system.received().await);
    let outcomes: Vec<Outcome> = received.iter().map(|message| message.outcome).collect();
    assert_eq!((outcomes, held(&received)), (vec![Outcome::Rejected, Outcome::Approved], Outcome::Rejected));
}

/// A rejection was spilled for twenty hours; when it was drained, no row could be written for half an hour; and it is
/// redriven when the stream has forgotten it.
async fn what_was_given_up_long_ago_is_published(system: &System<'_>) {
    let session = Track { function: "identomat", provider: "identomat", track: "session-change" };
    let proxy = &system.providers["identomat"].proxy;
    proxy.inject(&["PutItem"], 0..usize::MAX, Fault::Failed);
    invoke(system, "identomat", session.callback("R", "long-ago")).await;
    proxy.lift();
    let spilled = system.take(&system.stack.spill_queue_url).await.remove(0);
    let mut spilled: Value = serde_json::from_str(&spilled).unwrap();
    let event = &mut spilled["item"]["event"];
    let received_at = runtime::now() - jiff::SignedDuration::from_hours(20);
    event["received_at"] = json!(format!("{received_at:.3}"));
    let shard = event["day"].as_str().unwrap().split_once('#').unwrap().1.to_owned();
    event["day"] = json!(format!("{}#{shard}", received_at.strftime("%Y-%m-%d")));
    let send = system.connections.sqs.send_message().queue_url(&system.stack.spill_queue_url);
    send.message_body(spilled.to_string()).send().await.unwrap();
    system.drain_all().await;

    let mut stream = system.stream.lock().await;
    let patience = std::mem::replace(&mut stream.max_age, Duration::from_millis(500));
    system.publisher.proxy.inject(&["UpdateItem"], 0..usize::MAX, Fault::Failed);
    stream.run(&system.publisher.function).await;
    assert!(system.publisher.proxy.lift() > 0);
    stream.max_age = patience;
    drop(stream);
    assert!(system.received().await.is_empty());

    let unpublished = &system.stack.unpublished_queue_url;
    let given_up = system.take(unpublished).await.remove(0);
    let mut forgotten: Value = serde_json::from_str(&given_up).unwrap();
    let arn = forgotten["DDBStreamBatchInfo"]["streamArn"].as_str().unwrap();
    let arn = format!("{}/stream/2020-01-01T00:00:00.000", arn.split("/stream/").next().unwrap());
    forgotten["DDBStreamBatchInfo"]["streamArn"] = json!(arn);
    let send = system.connections.sqs.send_message().queue_url(unpublished);
    send.message_body(forgotten.to_string()).send().await.unwrap();

    // Twice: what is published already is said again word for word.
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let (code, redriven) = callbacks(system.stack, &["redrive", "unpublished", "--json"]).await;
        assert!(code == 0, "{redriven}");
        bodies.extend(system.take(&system.stack.verification_queue_url).await);
        let send = system.connections.sqs.send_message().queue_url(unpublished);
        send.message_body(forgotten.to_string()).send().await.unwrap();
    }
    system.take(unpublished).await;
    let messages: Vec<Message> = bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    let of_subject: Vec<&Message> = messages.iter().filter(|message| message.subject == "long-ago").collect();
    assert!(!of_subject.is_empty());
    assert!(of_subject.iter().all(|message| message.outcome == Outcome::Rejected && message.id == of_subject[0].id));
}

async fn rows_are_rebuilt_from_the_events(system: &System<'_>) {
    let session = Track { function: "identomat", provider: "identomat", track: "session-change" };
    for says in ["R", "A", "R"] {
        invoke(system, "identomat", session.callback(says, "rebuilt")).await;
        system.publish_all().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = system.received().await;
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let delete = system.connections.dynamodb.delete_item().table_name(&system.stack.verifications_table);
    delete.key("pk", text("identomat#rebuilt")).key("sk", text("session-change")).send().await.unwrap();

    let (code, rebuilt) = callbacks(system.stack, &["rebuild", "--json"]).await;
    assert!(code == 0 && rebuilt.contains(r#""failed":0"#), "{rebuilt}");
    assert!(system.received().await.is_empty(), "it sends nothing");
    let http = Client::new();
    let answer = verifications::fetch(&http, system.stack, &system.connections, "identomat", "rebuilt").await;
    let answer = answer.unwrap().unwrap();
    assert_eq!(
        (&answer["verifications"][0]["outcome"], &answer["events"][2]["repeated"]),
        (&json!("rejected"), &json!(true))
    );
    // What comes next is above what consumers hold.
    invoke(system, "identomat", session.callback("A", "rebuilt")).await;
    system.publish_all().await;
    let next = system.received().await.remove(0);
    assert!(before.iter().all(|message| message.sequence < next.sequence));
}

/// A callback of a wallet that presents this token under a code of its own, for template 1 of this verification.
async fn present(system: &System<'_>, subject: &str, token: &str) {
    let code = format!("code-of-{subject}");
    let announcement = Announcement {
        purpose: Purpose::Verification,
        code: code.clone(),
        state: Some(subject.to_owned()),
        template_ids: vec!["1".to_owned()],
        due_at: None,
    };
    announce(&Client::new(), system.stack, &system.connections, &announcement).await.unwrap();
    let tokens = json!({ "1": { "token": token, "status": "COMPLETED" } });
    let body = json!({ "code": code, "state": subject, "tokens": tokens });
    let event = with_body(&accepted("wallet-verification"), body.to_string().as_bytes());
    invoke(system, "wallet-verification", event).await;
}

/// Where verifications of wallets stand, and what their last messages said for themselves.
async fn stand(system: &System<'_>, subjects: [&str; 2]) -> [(Value, Value); 2] {
    let http = Client::new();
    let stands = async |subject| {
        let answer = verifications::fetch(&http, system.stack, &system.connections, "wallet", subject).await;
        let answer = answer.unwrap().unwrap();
        (answer["verifications"][0]["outcome"].clone(), answer["events"][0]["reported_outcome"].clone())
    };
    [stands(subjects[0]).await, stands(subjects[1]).await]
}

async fn a_token_counts_for_one_code_also_after_a_crash_and_a_rebuild(system: &System<'_>) {
    let subjects = ["presented-first", "presented-again"];
    let issuer = Issuer::of(system.stack).unwrap();
    let claims = json!({ "iss": issuer.issuer, "jwks_uri": issuer.jwks_url, "verification_id": "presented-twice" });
    let token = issuer.key.sign(&claims).unwrap();
    // Its token and its verification_id are claimed, and then its row cannot be written.
    present(system, subjects[0], &token).await;
    let proxy = &system.publisher.proxy;
    proxy.inject(&["UpdateItem"], 2..5, Fault::Failed);
    system.publish_all().await;
    assert!(proxy.lift() > 0);
    present(system, subjects[1], &token).await;
    system.publish_all().await;

    let received = system.received().await;
    let said: Vec<String> = received.iter().map(said).collect();
    assert_eq!(said, ["approved", "review (approved)"]);
    assert_eq!(received[1].data.reasons, ["token_reused"]);
    let untrusted = json!({ "credentials": { "1": { "verdict": "untrusted", "reason": "token_reused" } } });
    assert_eq!(json!(received[1].data.details), untrusted);
    let expected = [(json!("approved"), Value::Null), (json!("review"), json!("approved"))];
    assert_eq!(stand(system, subjects).await, expected);

    // Rows are lost, and then the claims too.
    let is_claim = |pk: &str| pk.starts_with("proof/");
    let is_row = |pk: &str| subjects.iter().any(|subject| pk == format!("wallet#{subject}"));
    let mut deleted = Vec::new();
    for is_lost in [&is_row as &dyn Fn(&str) -> bool, &|pk| is_row(pk) || is_claim(pk)] {
        let dynamodb = &system.connections.dynamodb;
        let scanned = dynamodb.scan().table_name(&system.stack.verifications_table).consistent_read(true);
        let mut count = 0;
        for item in scanned.send().await.unwrap().items() {
            if is_lost(item["pk"].as_s().unwrap()) {
                let delete = dynamodb.delete_item().table_name(&system.stack.verifications_table);
                delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.unwrap();
                count += 1;
            }
        }
        deleted.push(count);
        let (code, rebuilt) = callbacks(system.stack, &["rebuild", "--json"]).await;
        assert!(code == 0 && rebuilt.contains(r#""failed":0"#), "{rebuilt}");
        assert_eq!(stand(system, subjects).await, expected);
    }
    assert_eq!(deleted, [2, 4]);
    assert!(system.received().await.is_empty(), "it sends nothing");
}
