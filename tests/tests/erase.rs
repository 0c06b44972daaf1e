//! Erasure: after `callbacks erase`, nothing of a verification's personal data is found in any table, queue or log by a
//! search that finds it before, and nothing brings it back.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    process::Stdio,
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cli::{
    local::{Folder, Lifetime, LocalStack},
    sample::Sample,
    stack::Stack,
};
use model::{CourseKey, Courses as _, Erasure, Erasures as _, Retention};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Client;
use serde_json::{Value, json};
use tests::{Answer, Database, Fault, Proxy, System, answer, callbacks, callbacks_and_errors, callbacks_command};
use tests::{ISSUER, authentic, free_port, local_time, receive_now, samples};
use tokio::time::sleep;

/// What is erased, and what is not.
const ERASED: [&str; 3] = ["ERIKA-OF-THE-ERASED", "+499999000042", "Your code is 909042"];
const KEPT: &str = "MAX-OF-THE-OTHERS";

/// The verifications that are erased, and one that is not.
const SUBJECT: &str = "erase-scan";
const SESSION: &str = "erase-session";
const WALLET: &str = "erase-wallet";
const OTHER: &str = "erase-other";

type Item = HashMap<String, AttributeValue>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_personal_is_left_of_an_erased_verification_and_nothing_comes_back() {
    let folder = Folder::named("erase").unwrap();
    let local = LocalStack::start(folder, Some(free_port()), Lifetime::Attached).await.unwrap();
    let system = System::of(&local.stack).await;
    let presented = presentation(&system).await;
    let site = Site { system, presented };

    site.receive_callbacks().await;
    let copies = site.back_up().await;
    let before = site.events_of(SUBJECT).await;
    a_search_finds_it_before(&site).await;
    a_look_changes_nothing(&site).await;
    what_stops_halfway_is_completed_by_the_next_run(&site).await;
    a_search_finds_nothing_after(&site).await;
    what_stays_proves_that_it_was_received(&site, &before).await;
    what_the_provider_sends_later_is_erased(&site).await;
    what_is_spilled_later_is_drained_without_its_payload(&site).await;
    what_is_restored_comes_back_without_its_payload(&site, &copies).await;
    what_others_put_back_is_erased_when_it_is_published(&site, &before).await;
    what_came_back_unseen_is_neither_replayed_nor_reprocessed(&site, &before).await;
    what_is_unknown_is_not_erased_unless_told(&site).await;
    site.check_others_are_untouched().await;
}

struct Site<'a> {
    system: System<'a>,
    /// A presentation of a wallet, too large for one item.
    presented: Sample,
}

impl Site<'_> {
    fn stack(&self) -> &Stack {
        self.system.stack
    }

    /// Callbacks of each kind: small, large, not understood, spilled and dead, and one that is a password.
    async fn receive_callbacks(&self) {
        for callback in [&scan(SUBJECT, ERASED[0]), &not_understood(ERASED[0]), &self.presented] {
            self.store(callback).await;
        }
        self.store(&scan(OTHER, KEPT)).await;
        let password = sample("identomat/one-time-password").about(SESSION).unwrap();
        let password = password.with_field("phoneNumber", ERASED[1]).unwrap().with_field("text", ERASED[2]).unwrap();
        self.store(&password).await;
        self.system.publish_all().await;
        // The sender takes it and fails, five times.
        let [password] = &self.system.take(&self.stack().delivery_queue_url).await[..] else { panic!("one password") };
        self.send(&self.stack().delivery_dead_letters_url, password).await;
        assert_eq!(self.system.take(&self.stack().verification_queue_url).await.len(), 4, "all others");

        self.spill(&self.presented).await;
        for dead in self.system.take(&self.stack().spill_queue_url).await {
            self.send(&self.stack().spill_dead_letters_url, &dead).await;
        }
        self.spill(&scan(SUBJECT, ERASED[0])).await;
        self.spill(&scan(OTHER, KEPT)).await;
    }

    /// Sends a callback to its function, which puts it into the table.
    async fn store(&self, callback: &Sample) {
        assert_eq!(self.system.send(callback).await, Answer::Acknowledged, "{}", callback.name());
        // The next one is received in another millisecond.
        sleep(Duration::from_millis(2)).await;
    }

    /// Sends a callback to its function while the table takes nothing.
    async fn spill(&self, callback: &Sample) {
        let proxy = &self.system.providers[callback.function.as_str()].proxy;
        proxy.inject(&["PutItem"], 0..usize::MAX, Fault::Failed);
        self.store(callback).await;
        assert!(proxy.lift() > 0);
    }

    /// Copies of the events table and the verifications table, as they are restored.
    async fn back_up(&self) -> [String; 2] {
        let tables = [&self.stack().events_table, &self.stack().verifications_table];
        for table in tables {
            let restore = self.system.connections.dynamodb.restore_table_to_point_in_time();
            let restore = restore.source_table_name(table).target_table_name(format!("{table}-copy"));
            restore.use_latest_restorable_time(true).send().await.unwrap();
        }
        tables.map(|table| format!("{table}-copy"))
    }

    /// The items of a verification's events, by their ids.
    async fn events_of(&self, subject: &str) -> BTreeMap<String, Item> {
        let items = self.items(&self.stack().events_table).await.into_iter();
        let items = items.filter(|item| item["pk"].as_s().unwrap() == subject);
        items.map(|item| (item["sk"].as_s().unwrap().clone(), item)).collect()
    }

    async fn items(&self, table: &str) -> Vec<Item> {
        let scan = self.system.connections.dynamodb.scan().table_name(table).consistent_read(true);
        scan.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await.unwrap()
    }

    async fn put(&self, item: &Item) {
        let put = self.system.connections.dynamodb.put_item().table_name(&self.stack().events_table);
        put.set_item(Some(item.clone())).send().await.unwrap();
    }

    /// Deletes all items of a table for which this is so.
    async fn delete(&self, table: &str, is_lost: impl Fn(&str) -> bool) -> usize {
        let mut deleted = 0;
        for item in self.items(table).await.into_iter().filter(|item| is_lost(item["pk"].as_s().unwrap())) {
            let delete = self.system.connections.dynamodb.delete_item().table_name(table);
            delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.unwrap();
            deleted += 1;
        }
        deleted
    }

    async fn send(&self, url: &str, body: &str) {
        self.system.connections.sqs.send_message().queue_url(url).message_body(body).send().await.unwrap();
    }

    async fn callbacks(&self, arguments: &[&str]) -> (i32, String) {
        callbacks(self.stack(), arguments).await
    }

    /// Erases a verification, and returns what is said.
    async fn erase(&self, subject: &str, more: &[&str]) -> Value {
        let (code, said) = self.callbacks(&[&["erase", subject, "--yes", "--json"], more].concat()).await;
        assert_eq!(code, 0, "{said}");
        serde_json::from_str(&said).unwrap()
    }

    /// Where this text is: in which tables, queues and logs.
    async fn places(&self, text: &str) -> BTreeSet<&'static str> {
        let (stack, mut places) = (self.stack(), BTreeSet::new());
        for (place, table) in [
            ("events", &stack.events_table),
            ("verifications", &stack.verifications_table),
            ("expectations", &stack.expectations_table),
        ] {
            let items = self.items(table).await;
            places.extend(items.iter().any(|item| item.values().any(|value| holds(value, text))).then_some(place));
        }
        for (place, url) in [
            ("verdicts", &stack.verification_queue_url),
            ("dead verdicts", &stack.verification_dead_letters_url),
            ("deliveries", &stack.delivery_queue_url),
            ("dead deliveries", &stack.delivery_dead_letters_url),
            ("spill", &stack.spill_queue_url),
            ("dead spill", &stack.spill_dead_letters_url),
            ("unpublished", &stack.unpublished_queue_url),
        ] {
            let is_there = self.messages(url).await.iter().any(|body| body.contains(text));
            places.extend(is_there.then_some(place));
        }
        for function in ["jumio", "identomat", "wallet-verification", "publisher", "spill-drain"] {
            let log = cli::project_root().unwrap().join(format!("target/tests/{function}.log"));
            let log = std::fs::read(log).unwrap();
            places.extend(String::from_utf8_lossy(&log).contains(text).then_some("logs"));
        }
        places
    }

    /// What a queue holds, with what is spilled as it was before it was encoded. It stays there.
    async fn messages(&self, url: &str) -> Vec<String> {
        let (mut bodies, mut receipts) = (Vec::new(), Vec::new());
        loop {
            let messages = receive_now(&self.system.connections, url, Duration::from_secs(60)).await;
            if messages.is_empty() {
                break;
            }
            for message in messages {
                receipts.push(message.receipt_handle.unwrap());
                let body = message.body.unwrap();
                let spilled: Value = serde_json::from_str(&body).unwrap_or_default();
                let decoded = spilled["body"].as_str().and_then(|body| BASE64.decode(body).ok()).unwrap_or_default();
                bodies.push(body + &String::from_utf8_lossy(&decoded));
            }
        }
        for receipt in receipts {
            let change = self.system.connections.sqs.change_message_visibility().queue_url(url);
            change.receipt_handle(receipt).visibility_timeout(0).send().await.unwrap();
        }
        bodies
    }

    async fn check_nothing_is_found(&self, when: &str) {
        for text in ERASED {
            assert_eq!(self.places(text).await, BTreeSet::new(), "{text} {when}");
        }
    }

    async fn check_others_are_untouched(&self) {
        assert_eq!(self.places(KEPT).await, ["events"].into(), "what was spilled is drained by now");
        let events = self.events_of(OTHER).await;
        assert!(events.len() == 2 && events.values().all(|event| holds(&event["body"], KEPT)), "{events:?}");
    }
}

/// Whether a value of an item holds this text, as bytes too.
fn holds(value: &AttributeValue, text: &str) -> bool {
    match value {
        AttributeValue::S(value) => value.contains(text),
        AttributeValue::B(bytes) => String::from_utf8_lossy(bytes.as_ref()).contains(text),
        AttributeValue::L(values) => values.iter().any(|value| holds(value, text)),
        AttributeValue::M(values) => values.values().any(|value| holds(value, text)),
        _ => false,
    }
}

fn sample(name: &str) -> Sample {
    samples().into_iter().find(|sample| sample.name() == name).unwrap()
}

/// A scan of a document with this name in it.
fn scan(subject: &str, name: &str) -> Sample {
    sample("jumio/netverify-approved").about(subject).unwrap().with_field("idFirstName", name).unwrap()
}

fn not_understood(name: &str) -> Sample {
    sample("jumio/unknown-status").about(SUBJECT).unwrap().with_field("idFirstName", name).unwrap()
}

/// A presentation of a wallet with this name in it, of more than one item of the table can have.
async fn presentation(system: &System<'_>) -> Sample {
    // As it is in events/: the local stack's own issuer signs its tokens.
    let file = cli::project_root().unwrap().join("events/wallet-verification/approved.json");
    let sample = Sample::read(&file).unwrap().about(WALLET).unwrap().padded(600 * 1024);
    let mut sample = sample.prepared(&Client::new(), system.stack, &system.connections).await.unwrap();
    let mut event: Value = serde_json::from_str(&sample.text).unwrap();
    let body = event["body"].as_str().unwrap().replacen('{', &format!(r#"{{"name":"{}","#, ERASED[0]), 1);
    event["body"] = body.into();
    sample.text = event.to_string();
    sample
}

async fn a_search_finds_it_before(site: &Site<'_>) {
    assert_eq!(site.places(ERASED[0]).await, ["dead spill", "events", "spill"].into());
    for text in &ERASED[1..] {
        assert_eq!(site.places(text).await, ["dead deliveries", "events"].into(), "{text}");
    }
    assert_eq!(site.places(KEPT).await, ["events", "spill"].into());
}

async fn a_look_changes_nothing(site: &Site<'_>) {
    let (code, said) = site.callbacks(&["erase", SUBJECT, "--dry-run", "--json"]).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &said["to_erase"], &said["erased_before"], &said["erased"]),
        (0, &json!(2), &json!(0), &json!(0))
    );
    assert_eq!(said["spilled"], json!(1), "{said}");
    let (_, wallet) = site.callbacks(&["erase", WALLET, "--dry-run", "--json"]).await;
    let wallet: Value = serde_json::from_str(&wallet).unwrap();
    let parts = wallet["parts"].as_u64().unwrap();
    assert!(parts > 1 && wallet["spilled"] == json!(parts + 1), "an event and its parts: {wallet}");
    assert_eq!(said["on_list_since"], json!(null));
    // Nobody is there to be asked.
    let (code, printed, errors) = callbacks_and_errors(site.stack(), &["erase", SUBJECT]).await;
    assert!(code == 1 && printed.is_empty() && errors.contains("--dry-run") && errors.contains("--yes"), "{errors}");
    for text in [SUBJECT, ERASED[0]] {
        assert!(!site.places(text).await.is_empty());
    }
    a_search_finds_it_before(site).await;
    assert!(site.events_of(SUBJECT).await.values().all(|event| !event.contains_key("erased_at")));
}

async fn what_stops_halfway_is_completed_by_the_next_run(site: &Site<'_>) {
    let proxy = Proxy::start(site.stack().endpoint_url.clone().unwrap()).await;
    let stack = Stack { endpoint_url: Some(proxy.endpoint_url.clone()), ..site.stack().clone() };

    proxy.inject(&["PutItem"], 0..1, Fault::Delayed(Duration::from_secs(3)));
    let mut interrupted = callbacks_command(&stack, &["erase", SUBJECT, "--provider", "jumio", "--yes", "--json"]);
    let interrupted = interrupted.stdout(Stdio::piped()).spawn().unwrap();
    while !proxy.calls().iter().any(|call| call.ends_with("PutItem")) {
        sleep(Duration::from_millis(50)).await;
    }
    kill(Pid::from_raw(interrupted.id().unwrap().try_into().unwrap()), Signal::SIGINT).unwrap();
    let output = interrupted.wait_with_output().await.unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &said["interrupted"], &said["spilled"]), (Some(130), &json!(true), &json!(0)));
    assert_eq!(said["erased"], json!(1), "what was begun is done");
    proxy.lift();
    let said = site.erase(SUBJECT, &[]).await;
    assert_eq!(
        (&said["erased_before"], &said["erased"], &said["spilled"]),
        (&json!(1), &json!(1), &json!(1)),
        "{said}"
    );

    let (arguments, stored) = (["erase", WALLET, "--yes", "--json"], site.events_of(WALLET).await);
    // Every call that changes something fails, from this one on.
    let mut failed = 0;
    for calls in [0, 1, 2, 3, 5, 8, 13, 21, 34] {
        proxy.inject(&["PutItem", "UpdateItem", "DeleteMessage"], calls..usize::MAX, Fault::Failed);
        let (code, said, errors) = callbacks_and_errors(&stack, &arguments).await;
        let failures = proxy.lift();
        failed += usize::from(failures > 0);
        assert_eq!(code, i32::from(failures > 0), "{said} {errors}");
        assert!(!errors.contains(ERASED[0]) && !errors.contains("panicked"), "{errors}");
        if failures == 0 {
            assert!(failed > 4, "{failed}");
            return;
        }
        // Nothing is lost meanwhile: each event is there, erased or not.
        let now = site.events_of(WALLET).await;
        assert!(stored.keys().all(|id| now.contains_key(id)), "{stored:?} {now:?}");
    }
    panic!("it never comes to its end");
}

async fn a_search_finds_nothing_after(site: &Site<'_>) {
    let said = site.erase(SESSION, &[]).await;
    assert_eq!((&said["provider"], &said["erased"], &said["deliveries"]), (&json!("identomat"), &json!(1), &json!(1)));
    assert_eq!(said["rows"], json!(1), "it said to whom the password was delivered");
    let remains = said["copies_remain"].as_array().unwrap();
    assert!(remains.iter().any(|copy| copy["place"] == "point-in-time backups"), "{said}");
    site.check_nothing_is_found("after").await;
    let key = CourseKey { provider: "identomat".into(), subject: SESSION.into(), track: "one-time-password".into() };
    let course = site.system.courses().read(&[key]).await.unwrap().remove(0);
    assert!(course.decisions.len() == 1 && course.decisions[0].recipient.is_none(), "{course:?}");

    // Again, there is nothing to do; the entry stays as old as it is.
    let again = site.erase(SESSION, &[]).await;
    assert_eq!((&again["erased"], &again["erased_before"], &again["rows"]), (&json!(0), &json!(1), &json!(0)));
    assert_eq!(again["on_list_since"], said["on_list_since"]);
    assert_eq!(site.places(KEPT).await, ["events", "spill"].into());
}

async fn what_stays_proves_that_it_was_received(site: &Site<'_>, before: &BTreeMap<String, Item>) {
    let after = site.events_of(SUBJECT).await;
    // Those that were spilled are there too.
    assert_eq!((before.len(), after.len()), (2, 3));
    for (id, event) in &after {
        assert!(event.contains_key("erased_at") && !event.contains_key("parts"), "{id}");
        assert_eq!(event["body"].as_b().unwrap().as_ref(), b"");
        let Some(before) = before.get(id) else { continue };
        for name in ["provider", "kind", "track", "outcome", "received_at", "reasons", "assurance", "day", "details"] {
            assert_eq!(event[name], before[name], "{name}");
        }
    }
    let (code, shown) = site.callbacks(&["show", SUBJECT, "--json"]).await;
    assert!(code == 0 && shown.matches("erased_at").count() == 3, "{shown}");
    for more in ["--payload", "--raw"] {
        let id = after.keys().next().unwrap();
        let (code, printed, errors) =
            callbacks_and_errors(site.stack(), &["show", id, more, "--subject", SUBJECT]).await;
        assert!(code == 1 && printed.is_empty() && errors.contains("was erased at"), "{errors}");
    }
    // What was spilled is told once it is in the table, without its payload.
    site.system.publish_all().await;
    site.check_nothing_is_found("once all is published").await;
    assert!(site.system.unpublished().await.is_empty());
    site.system.take(&site.stack().verification_queue_url).await;
}

async fn what_the_provider_sends_later_is_erased(site: &Site<'_>) {
    let known = site.events_of(SUBJECT).await;
    site.store(&scan(SUBJECT, ERASED[0])).await;
    let known_of_wallet = site.events_of(WALLET).await;
    site.store(&site.presented).await;
    assert_eq!(site.places(ERASED[0]).await, ["events"].into(), "until it is published");
    // What cannot be erased comes again.
    site.system.publisher.proxy.inject(&["PutItem"], 1..8, Fault::Failed);
    site.system.publish_all().await;
    assert!(site.system.publisher.proxy.lift() > 0);
    site.check_nothing_is_found("after a late callback").await;
    let later = site.events_of(SUBJECT).await;
    assert_eq!(later.len(), known.len() + 1);
    let of_wallet = site.events_of(WALLET).await;
    assert_eq!(of_wallet.len(), known_of_wallet.len() + 1);
    assert!(of_wallet.values().all(|event| event.contains_key("erased_at")));
    assert!(later.values().all(|event| event.contains_key("erased_at")));
}

async fn what_is_spilled_later_is_drained_without_its_payload(site: &Site<'_>) {
    // First the one that every search has received: the drain would put it off for long.
    site.system.drain_all().await;
    let known = site.events_of(SUBJECT).await.len();
    site.spill(&scan(SUBJECT, ERASED[0])).await;
    site.spill(&site.presented).await;
    // While nobody knows what is erased, nothing is drained.
    site.system.drain.proxy.inject(&["BatchGetItem"], 0..usize::MAX, Fault::Failed);
    assert!(!site.system.spill.run(&site.system.drain.function).await);
    assert!(site.system.drain.proxy.lift() > 0);
    assert_eq!(site.events_of(SUBJECT).await.len(), known);
    site.system.drain_all().await;
    assert_eq!(site.events_of(SUBJECT).await.len(), known + 1);
    site.check_nothing_is_found("after the drain").await;
    site.system.publish_all().await;
    site.check_nothing_is_found("after the drain, published").await;
}

async fn what_is_restored_comes_back_without_its_payload(site: &Site<'_>, [events, rows]: &[String; 2]) {
    let of_them = [SUBJECT, SESSION, WALLET];
    let is_its = |item: &&Item| {
        let pk = item["pk"].as_s().unwrap();
        of_them.iter().any(|subject| pk == subject || pk.ends_with(&format!("#{subject}")))
    };
    let copied = async |copy: &str| site.items(copy).await.iter().filter(is_its).count();
    let (events_copied, rows_copied) = (copied(events).await, copied(rows).await);
    assert!(events_copied >= 4 && rows_copied >= 3, "{events_copied} {rows_copied}");
    let ids: BTreeSet<String> = [site.events_of(SUBJECT).await, site.events_of(WALLET).await]
        .into_iter()
        .flat_map(BTreeMap::into_keys)
        .collect();
    let is_lost = |pk: &str| of_them.contains(&pk) || ids.iter().any(|id| pk.starts_with(id.as_str()));
    assert!(site.delete(&site.stack().events_table, is_lost).await > events_copied, "parts of bodies too");
    let is_row = |pk: &str| of_them.iter().any(|subject| pk.ends_with(&format!("#{subject}")));
    assert_eq!(site.delete(&site.stack().verifications_table, is_row).await, rows_copied);

    let (code, would) = site.callbacks(&["restore", "--from", events, "--dry-run", "--json"]).await;
    assert!(code == 0 && would.matches("erased_at").count() == events_copied && !would.contains(ERASED[2]), "{would}");
    let (code, said) = site.callbacks(&["restore", "--from", events, "--rows-from", rows, "--json"]).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["put_back"], &said["parts"]), (0, &json!(events_copied), &json!(0)), "{said}");
    assert_eq!((&said["erased"], &said["rows"]["put_back"]), (&json!(events_copied), &json!(rows_copied)), "{said}");
    site.check_nothing_is_found("after a restore").await;
    let row = site.items(&site.stack().verifications_table).await;
    let row = row.iter().find(|row| row["pk"].as_s().unwrap().ends_with(SESSION)).unwrap();
    let decisions = row["course"].as_m().unwrap()["decisions"].as_l().unwrap();
    assert!(decisions.iter().all(|decision| !decision.as_m().unwrap().contains_key("recipient")), "{row:?}");
    site.system.publish_all().await;
    site.check_nothing_is_found("after a restore, published").await;
    let delivered = site.system.take(&site.stack().delivery_queue_url).await;
    assert!(delivered.is_empty(), "no password is delivered any more: {delivered:?}");
}

async fn what_others_put_back_is_erased_when_it_is_published(site: &Site<'_>, before: &BTreeMap<String, Item>) {
    // As a tool of AWS would, which knows of no list.
    let (id, item) = before.iter().find(|(_, item)| !item.contains_key("parts")).unwrap();
    site.delete(&site.stack().events_table, |pk| pk == SUBJECT).await;
    site.put(item).await;
    assert_eq!(site.places(ERASED[0]).await, ["events"].into());
    site.system.publish_all().await;
    site.check_nothing_is_found("after somebody put it back").await;
    assert!(site.events_of(SUBJECT).await[id].contains_key("erased_at"));
}

async fn what_came_back_unseen_is_neither_replayed_nor_reprocessed(site: &Site<'_>, before: &BTreeMap<String, Item>) {
    // Over an item that is there: the stream's filter lets no change through, so the publisher does not see it.
    for item in before.values() {
        site.put(item).await;
    }
    site.system.publish_all().await;
    for item in before.values() {
        site.put(item).await;
    }
    site.system.publish_all().await;
    assert_eq!(site.places(ERASED[0]).await, ["events"].into());
    site.system.take(&site.stack().verification_queue_url).await;

    let full = Stack { message_detail: "full".to_owned(), ..site.stack().clone() };
    let (code, said) = callbacks(&full, &["replay", "--subject", SUBJECT, "--json"]).await;
    let sent: Value = serde_json::from_str(&said).unwrap();
    assert!(code == 0 && sent["sent"].as_u64() > Some(0), "{said}");
    let messages = site.system.take(&site.stack().verification_queue_url).await;
    assert_eq!(messages.len() as u64, sent["sent"].as_u64().unwrap());
    for message in messages {
        let message: Value = serde_json::from_str(&message).unwrap();
        tests::contract::check_message(&message);
        assert!(message["data"].get("payload").is_none() && message["data"].get("payload_text").is_none(), "{message}");
    }
    let (code, said) = site.callbacks(&["reprocess", "--subject", SUBJECT]).await;
    assert!(code == 0 && said.contains("still not understood: its payload was erased"), "{said}");

    let said = site.erase(SUBJECT, &[]).await;
    assert_eq!(said["erased"], json!(before.len()), "{said}");
    site.check_nothing_is_found("after it was erased again").await;
}

async fn what_is_unknown_is_not_erased_unless_told(site: &Site<'_>) {
    let (code, _, errors) = callbacks_and_errors(site.stack(), &["erase", "erase-nobody", "--yes"]).await;
    assert!(code == 1 && errors.contains("--provider"), "{errors}");
    let nobody = ["erase", "erase-nobody", "--provider", "jumio", "--yes"];
    let (code, _, errors) = callbacks_and_errors(site.stack(), &nobody).await;
    assert!(code == 1 && errors.contains("nothing of erase-nobody is stored under jumio"), "{errors}");
    let said = site.erase("erase-nobody", &["--provider", "jumio", "--even-if-unknown"]).await;
    assert!(said["on_list_since"].is_string(), "{said}");
    site.store(&scan("erase-nobody", ERASED[0])).await;
    site.system.publish_all().await;
    site.check_nothing_is_found("of a verification that was unknown").await;
}

#[tokio::test]
async fn the_list_is_read_with_the_rows_in_one_call() {
    let database = Database::start().await;
    let (courses, erasures) = (database.courses(), database.erasures());
    let entry = Erasure::new("example", "s-3", local_time(), Retention::default(), 0);
    erasures.add(&entry).await.unwrap();
    let _ = database.proxy.calls();
    let key = |n: usize| CourseKey { provider: "example".into(), subject: format!("s-{n}"), track: "t".into() };
    let read = courses.read_with_erasures(&(0..10).map(key).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(database.proxy.calls(), ["DynamoDB_20120810.BatchGetItem"]);
    assert_eq!(
        read.iter().map(|(_, is_erased)| *is_erased).collect::<Vec<_>>(),
        (0..10).map(|n| n == 3).collect::<Vec<_>>()
    );
    // More than one call takes: each key is found all the same.
    let many = courses.read_with_erasures(&(0..120).map(key).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(many.iter().filter(|(_, is_erased)| *is_erased).count(), 1);
    assert_eq!(database.proxy.calls().len(), 3);

    // Erased again, it keeps its time, and stays at least as long.
    let later = Erasure { erased_at: local_time() + jiff::SignedDuration::from_hours(1), ..entry.clone() };
    erasures.add(&later).await.unwrap();
    assert_eq!(erasures.find(&entry.key).await.unwrap(), Some(entry));
    // Who has no list is no publisher.
    let without = runtime::DynamoCourses::new(database.client.clone(), "verifications".to_owned());
    assert!(without.read_with_erasures(&[key(3)]).await.is_err());
}

#[tokio::test]
async fn whatever_call_fails_an_event_is_erased_after_its_parts() {
    let database = Database::start().await;
    let token = ISSUER.key.sign(&json!({ "iss": ISSUER.issuer, "vp_token": "x".repeat(600 * 1024) })).unwrap();
    let body = json!({ "tokens": { "1": { "token": token, "status": "COMPLETED" } } }).to_string();
    let event = authentic("wallet-verification", body.as_bytes()).unwrap().to_string();
    answer("wallet-verification", &database.store(), &event, local_time()).await.unwrap();
    let event = database.events().await.remove(0);
    let parts = usize::from(event.parts.unwrap());
    let erasures = database.erasures();
    for calls in 0..=parts {
        database.proxy.inject(&["PutItem"], calls..usize::MAX, Fault::Refused);
        assert!(erasures.erase(&event, local_time()).await.is_err(), "{calls}");
        assert!(database.proxy.lift() > 0);
        assert_eq!(database.events().await.remove(0).parts, event.parts, "it still says how many parts there are");
    }
    erasures.erase(&event, local_time()).await.unwrap();
    let erased = database.events().await.remove(0);
    assert!(erased == event.clone().erased(local_time()));
    let items = database.client.scan().table_name("events").send().await.unwrap().items.unwrap();
    assert_eq!(items.len(), parts + 1);
    assert!(items.iter().all(|item| item["body"].as_b().unwrap().as_ref().is_empty()));

    // What has expired does not come back.
    for item in &items {
        let delete = database.client.delete_item().table_name("events");
        delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.unwrap();
    }
    erasures.erase(&event, local_time()).await.unwrap();
    assert!(database.events().await.is_empty());
}
