//! The drills of docs/runbook.md, by the commands that stand there, on a local stack; and what the functions wrote into their logs meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroUsize,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use bench::load::{self, Plan};
use cli::{
    demo::courses,
    local::{Folder, Lifetime, LocalStack},
    sample::Sample,
    stack::{Connections, Stack},
    wallet::{Announcement, Issuer, announce},
};
use model::{Purpose, StoredEvent};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Client;
use serde_json::{Value, json};
use tests::{
    Fault, Proxy, callbacks, callbacks_and_errors, callbacks_command,
    commands::{Block, NOT_RUN, RUN_ELSEWHERE, blocks},
    free_port, python,
};
use tokio::process::Command;

/// What the local stack is called in CloudFormation.
const NAME: &str = "verification-callbacks";

/// One stack for everything: the drills follow each other on it, and what comes last reads what all of them left.
#[tokio::test]
async fn the_drills_of_the_runbook_do_what_they_say() {
    let folder = Folder::named("drills").unwrap();
    let local = LocalStack::start(folder, Some(free_port()), Lifetime::Attached).await.unwrap();
    let site = &Site::of(&local.stack).await;
    let stop = Arc::new(AtomicBool::new(false));
    let stack = &local.stack;
    let queues = [
        &stack.verification_queue_url,
        &stack.verification_dead_letters_url,
        &stack.delivery_queue_url,
        &stack.delivery_dead_letters_url,
        &stack.spill_queue_url,
        &stack.spill_dead_letters_url,
        &stack.unpublished_queue_url,
    ];
    let queues = queues.map(String::clone).to_vec();
    let watching = tokio::spawn(watch_queues(site.connections.clone(), queues, stop.clone()));

    a_secret_is_rotated_without_a_refusal_and_the_old_one_forgotten(site).await;
    an_hour_is_replayed_with_the_ids_that_were_sent(site).await;
    a_dead_letter_queue_is_drained(site).await;
    deleted_events_are_put_back_from_a_restored_table_and_published(site).await;
    a_provider_is_let_in_from_new_networks(site).await;

    much_comes_at_once(site).await;
    everything_that_can_be_logged_is(site).await;
    stop.store(true, Ordering::Relaxed);
    let lines = site.lines().await;
    the_fields_of_the_logs_are_those_of_the_page(&lines);
    the_metrics_are_those_of_the_page(&lines);
    the_dashboard_shows_nothing_that_nobody_counts(site, &lines, watching.await.unwrap()).await;
    every_other_command_of_the_documents_runs(site).await;
}

/// The stack, and what a human would have at hand.
struct Site {
    stack: Stack,
    connections: Connections,
    http: Client,
    root: PathBuf,
    /// Where the AWS CLI is.
    aws: PathBuf,
    runbook: String,
}

impl Site {
    async fn of(stack: &Stack) -> Self {
        let root = cli::project_root().unwrap();
        let runbook = std::fs::read_to_string(root.join("docs/runbook.md")).unwrap();
        let (stack, connections) = (stack.clone(), stack.connect().await);
        Self { stack, connections, http: Client::new(), aws: python::install("runbook").await, root, runbook }
    }

    /// The commands in a section of the runbook, block by block.
    fn blocks(&self, title: &str) -> Vec<&str> {
        let (_, section) = self.runbook.split_once(&format!("{title}\n")).unwrap();
        let section = section.split("\n##").next().unwrap().split("\n### ").next().unwrap();
        let blocks = section.split("```sh\n").skip(1);
        blocks.map(|block| block.split_once("```").unwrap().0).collect()
    }

    /// Does one step of a drill: runs a block of its commands in a shell in which what the runbook defines is defined.
    async fn run(&self, drill: &str, step: usize) -> String {
        let script = format!("set -euo pipefail\n{}\n{}", self.definitions(), self.blocks(drill)[step]);
        let mut shell = self.shell(&script);
        let said = python::run(&mut shell).await;
        eprintln!("{drill}, step {}:\n{said}", step + 1);
        said
    }

    /// What the runbook defines for its commands.
    fn definitions(&self) -> &str {
        self.blocks("## Set up your machine")[0]
    }

    /// A shell for commands as the documents show them. To them, the emulator is a deployed stack like any other.
    fn shell(&self, script: &str) -> Command {
        let mut shell = Command::new("bash");
        let folders = [
            self.aws.clone(),
            self.root.join("target/debug"),
            "/usr/local/bin".into(),
            "/usr/bin".into(),
            "/bin".into(),
        ];
        shell
            .args(["-c", script])
            .current_dir(&self.root)
            .env("PATH", std::env::join_paths(folders.into_iter().chain(python3())).unwrap())
            .env("AWS_ENDPOINT_URL", self.stack.endpoint_url.as_deref().unwrap())
            .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
            .envs([("AWS_REGION", &self.stack.region), ("AWS_DEFAULT_REGION", &self.stack.region)])
            .env("STACK", NAME)
            // The one address that the emulator knows.
            .env("NETWORKS", "192.0.2.0/24,127.0.0.1");
        shell
    }

    /// The status with which a report of VerifyVASP is answered.
    async fn report(&self, secret: &str, subject: &str) -> u16 {
        let body = json!({ "callbackType": "TX_REPORT", "data": { "verificationUuid": subject, "txHash": "00" } });
        self.post(secret, body.to_string()).await
    }

    async fn post(&self, secret: &str, body: String) -> u16 {
        let request = self.http.post(self.stack.url("verifyvasp").unwrap()).bearer_auth(secret);
        let request = request.header("content-type", "application/json").body(body);
        request.send().await.unwrap().status().as_u16()
    }

    /// Takes all messages from the verdicts' queue until it has so many.
    async fn receive(&self, expected: usize) -> Vec<Value> {
        let (sqs, url) = (&self.connections.sqs, &self.stack.verification_queue_url);
        let mut messages = Vec::new();
        let began = Instant::now();
        while messages.len() < expected && began.elapsed() < Duration::from_secs(60) {
            let receive = sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(1);
            for message in receive.send().await.unwrap().messages.unwrap_or_default() {
                messages.push(serde_json::from_str(message.body().unwrap()).unwrap());
                let delete = sqs.delete_message().queue_url(url);
                delete.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
            }
        }
        assert_eq!(messages.len(), expected, "{messages:?}");
        messages
    }

    /// Sets a variable of a function's environment. The emulator asks for no signature.
    async fn configure(&self, function: &str, variable: &str, value: &str) -> String {
        let endpoint_url = self.stack.endpoint_url.as_deref().unwrap();
        let url = format!("{endpoint_url}/2015-03-31/functions/{}/configuration", self.stack.functions[function]);
        let configuration = self.http.get(&url).send().await.unwrap().text().await.unwrap();
        let mut configuration: Value = serde_json::from_str(&configuration).unwrap();
        let before = configuration["Environment"]["Variables"][variable].take();
        configuration["Environment"]["Variables"][variable] = json!(value);
        let body = json!({ "Environment": configuration["Environment"] });
        self.http.put(&url).body(body.to_string()).send().await.unwrap().error_for_status().unwrap();
        before.as_str().unwrap_or_default().to_owned()
    }

    /// What this asks CloudWatch Logs, or another service of that protocol. The emulator asks for no signature.
    async fn ask(&self, service: &str, operation: &str, body: Value) -> Value {
        let request = self.http.post(self.stack.endpoint_url.as_deref().unwrap());
        let request = request.header("x-amz-target", operation);
        let region = &self.stack.region;
        let authorization = format!("AWS4-HMAC-SHA256 Credential=test/20260131/{region}/{service}/aws4_request");
        let request = request.header("authorization", authorization);
        let request = request.header("content-type", "application/x-amz-json-1.1").body(body.to_string());
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
    }

    /// Every line that a function wrote: JSON objects. What Lambda writes itself beside them is none of ours.
    async fn lines(&self) -> Vec<Value> {
        let logs = async |operation: &str, body| self.ask("logs", &format!("Logs_20140328.{operation}"), body).await;
        let mut lines = Vec::new();
        for group in logs("DescribeLogGroups", json!({})).await["logGroups"].as_array().unwrap() {
            let mut page = json!({ "logGroupName": group["logGroupName"] });
            loop {
                let events = logs("FilterLogEvents", page.clone()).await;
                let messages = events["events"].as_array().unwrap().iter().flat_map(|event| event["message"].as_str());
                let objects = messages.flat_map(str::lines).filter_map(|line| serde_json::from_str(line).ok());
                lines.extend(objects.filter(Value::is_object));
                match &events["nextToken"] {
                    Value::String(token) => page["nextToken"] = json!(token),
                    _ => break,
                }
            }
        }
        lines
    }
}

/// Where Python is, if it is somewhere else than usual.
fn python3() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the shell of a drill finds its programs as this test does")]
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find(|folder| folder.join("python3").exists())
}

async fn a_secret_is_rotated_without_a_refusal_and_the_old_one_forgotten(site: &Site) {
    let old = site.stack.secrets["verifyvasp"].clone();
    assert_eq!(site.report(&old, "rotation-1").await, 200);
    site.run("### Rotate a secret", 0).await;

    let secrets = &site.connections.secrets_manager;
    let listed = secrets.list_secrets().send().await.unwrap().secret_list.unwrap();
    let arn = listed.iter().filter_map(|secret| secret.arn()).find(|arn| arn.contains("verifyvaspSecret")).unwrap();
    let value = async || {
        let value = secrets.get_secret_value().secret_id(arn).send().await.unwrap().secret_string.unwrap();
        serde_json::from_str::<Value>(&value).unwrap()
    };
    let both = value().await;
    assert_eq!(both["previous"], json!(old));
    let new = both["current"].as_str().unwrap().to_owned();
    assert!(new.len() == 48 && new != old);

    // What the function does not know makes it look up what there is, at most every 30 s.
    let began = Instant::now();
    while site.report(&new, "rotation-2").await != 200 {
        assert!(began.elapsed() < Duration::from_secs(60), "the new secret is not accepted");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(site.report(&old, "rotation-3").await, 200);

    site.run("### Rotate a secret", 1).await;
    assert_eq!(value().await, json!({ "current": new }));
    let began = Instant::now();
    while site.report(&old, "rotation-4").await != 401 {
        assert!(began.elapsed() < Duration::from_secs(60), "the old secret is still accepted");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(site.report(&new, "rotation-5").await, 200);
    // As everything else expects it.
    let seeded = json!({ "current": old }).to_string();
    secrets.put_secret_value().secret_id(arn).secret_string(seeded).send().await.unwrap();
    site.configure("verifyvasp", "LOCAL_SECRET", "another instance").await;
}

async fn an_hour_is_replayed_with_the_ids_that_were_sent(site: &Site) {
    let ids = |messages: Vec<Value>| -> BTreeSet<String> {
        messages.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect()
    };
    // The reports of the rotation; how often it had to try is not known, but each was published once.
    let stored = site.connections.dynamodb.scan().table_name(&site.stack.events_table).send().await.unwrap();
    let subjects: BTreeSet<&String> = stored.items().iter().map(|item| item["pk"].as_s().unwrap()).collect();
    let expected = subjects.len();
    assert!(expected >= 4);
    let sent = ids(site.receive(expected).await);
    site.run("### Replay an hour", 0).await;
    assert_eq!(ids(site.receive(expected).await), sent);
}

async fn a_dead_letter_queue_is_drained(site: &Site) {
    let verdict = json!({
        "specversion": "1.0", "id": "dead", "source": "/callbacks/jumio", "type": "verification.jumio.netverify-authentication",
        "subject": "dead", "time": "2026-01-31T00:00:00.000Z", "datacontenttype": "application/json",
        "sequence": "0001769817600000", "outcome": "approved", "assurance": "source_address",
        "data": { "provider": "jumio", "track": "netverify-authentication", "reasons": [], "received_at": "2026-01-31T00:00:00.000Z", "details": {} },
    });
    let send = site.connections.sqs.send_message().queue_url(&site.stack.verification_dead_letters_url);
    let send = send.message_group_id("dead").message_deduplication_id("dead");
    send.message_body(verdict.to_string()).send().await.unwrap();
    let said = site.run("### Drain a dead-letter queue", 0).await;
    assert!(said.contains("verdicts: 1 sent, 0 stay"), "{said}");
    assert_eq!(site.receive(1).await, [verdict]);
}

async fn deleted_events_are_put_back_from_a_restored_table_and_published(site: &Site) {
    let secret = &site.stack.secrets["verifyvasp"];
    for subject in ["restored-1", "restored-2"] {
        assert_eq!(site.report(secret, subject).await, 200);
    }
    // Every byte there is: neither JSON nor UTF-8, and of another length if it were taken for text or for base64.
    let noise: Vec<u8> = (0..=255).rev().cycle().take(1001).collect();
    let request = site.http.post(site.stack.url("verifyvasp").unwrap()).bearer_auth(secret);
    let request = request.header("content-type", "application/octet-stream").body(noise.clone());
    assert_eq!(request.send().await.unwrap().status(), 200);
    for subject in ["restored-large-1", "restored-large-2"] {
        site.large_callback(subject).await;
    }
    let sent = site.receive(5).await;
    let before = site.items(&site.stack.events_table).await;
    let subject_of_noise = sent.iter().find(|message| message["data"]["unrecognized"] == "not_json").unwrap();
    let subject_of_noise = subject_of_noise["subject"].as_str().unwrap().to_owned();
    let body = |items: &Items, subject: &str| {
        let event = items.values().find(|item| item["pk"].as_s().unwrap() == subject).unwrap();
        event["body"].as_b().unwrap().as_ref().to_vec()
    };
    assert!(body(&before, &subject_of_noise) == noise);
    site.run("### Restore the table", 0).await;

    // What was in the table then and is not now comes back; what came after it stays, and so does what is there in both.
    let ids = |subject: &str| -> Vec<String> {
        let of_subject = sent.iter().filter(|message| message["subject"] == subject);
        of_subject.map(|message| message["id"].as_str().unwrap().to_owned()).collect()
    };
    let (large, halved) = (ids("restored-large-1").remove(0), ids("restored-large-2").remove(0));
    let lost =
        [("restored-1", ids("restored-1").remove(0)), (subject_of_noise.as_str(), ids(&subject_of_noise).remove(0))];
    let mut lost: Vec<Key> = lost.map(|(subject, id)| (subject.to_owned(), id)).into();
    lost.push(("restored-large-1".to_owned(), large.clone()));
    lost.extend((0..3).map(|number| (format!("{large}#{number:03}"), "part".to_owned())));
    // Of this one, only a part is gone.
    lost.push((format!("{halved}#001"), "part".to_owned()));
    for key in &lost {
        assert!(before.contains_key(key), "{key:?}");
        site.delete(&site.stack.events_table, key).await;
    }
    // It is another one meanwhile, and stays so.
    let changed = ("restored-2".to_owned(), ids("restored-2").remove(0));
    let mut item = before[&changed].clone();
    item.insert("traceparent".to_owned(), AttributeValue::S("changed".to_owned()));
    site.put(&site.stack.events_table, &item).await;
    // It would have been deleted, but in a restored table nothing expires.
    let copy = format!("{}-restored", site.stack.events_table);
    let mut expired = before[&lost[0]].clone();
    expired.insert("sk".to_owned(), AttributeValue::S("e".repeat(64)));
    expired.insert("expires_at".to_owned(), AttributeValue::N("1000000000".to_owned()));
    site.put(&copy, &expired).await;
    assert_eq!(site.report(secret, "restored-3").await, 200);
    assert_eq!(site.receive(1).await[0]["subject"], "restored-3");

    let mut expected = before.clone();
    expected.insert(changed, item);
    let later = site.items(&site.stack.events_table).await;
    expected.extend(later.into_iter().filter(|((subject, _), _)| subject == "restored-3"));
    let said = site.run("### Restore the table", 1).await;
    assert!(said.contains("3 events and 4 parts of bodies put back, "), "{said}");
    let now = site.items(&site.stack.events_table).await;
    assert_eq!(now.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(now == expected, "byte for byte");
    // They are published again; SQS drops what it got less than five minutes ago.
    for (_, id) in &lost[..3] {
        site.until_published_twice(id).await;
    }
    let again: Value = site.callbacks(&["restore", "--from", &copy, "--json"]).await.1;
    assert_eq!((&again["put_back"], &again["parts"], &again["expired"]), (&json!(0), &json!(0), &json!(1)));

    what_stopped_halfway_goes_on(site, &copy, &lost[2..6]).await;
    rows_are_put_back_before_their_events(site).await;
}

/// Every call fails after the first two parts of a body: its event is not there without the third.
async fn what_stopped_halfway_goes_on(site: &Site, copy: &str, lost: &[Key]) {
    let events = &site.stack.events_table;
    let before = site.items(events).await;
    for key in lost {
        site.delete(events, key).await;
    }
    let left = site.items(events).await.len();
    let proxy = Proxy::start(site.stack.endpoint_url.clone().unwrap()).await;
    let stack = Stack { endpoint_url: Some(proxy.endpoint_url.clone()), ..site.stack.clone() };

    proxy.inject(&["Scan"], 0..1, Fault::Delayed(Duration::from_secs(3)));
    let mut interrupted = callbacks_command(&stack, &["restore", "--from", copy]).spawn().unwrap();
    while !proxy.calls().iter().any(|call| call.ends_with("Scan")) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    kill(Pid::from_raw(interrupted.id().unwrap().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(interrupted.wait().await.unwrap().code(), Some(130));
    proxy.lift();
    assert_eq!(site.items(events).await.len(), left, "nothing was put back");

    proxy.inject(&["PutItem"], 2..usize::MAX, Fault::Failed);
    let (code, summary, errors) = callbacks_and_errors(&stack, &["restore", "--from", copy, "--json"]).await;
    assert!(proxy.lift() > 0);
    let received_at = before[&lost[0]]["received_at"].as_s().unwrap();
    assert!(code == 1 && errors.contains("failed to put an item into"), "{errors}");
    let there: Vec<bool> = {
        let now = site.items(events).await;
        lost.iter().map(|key| now.contains_key(key)).collect()
    };
    assert_eq!(there.iter().filter(|is_there| **is_there).count(), 2, "{there:?}");
    assert!(!there[0], "the event comes after the parts of its body");
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let go_on = summary["go_on_with"].as_str().unwrap().to_owned();
    let (option, since) = go_on.split_once(' ').unwrap();
    assert!(option == "--since" && since <= received_at.as_str() && errors.contains(&go_on), "{go_on} {errors}");
    let (code, summary) = site.callbacks(&["restore", "--from", copy, option, since, "--json"]).await;
    assert_eq!((code, &summary["put_back"], &summary["parts"]), (0, &json!(1), &json!(1)));
    assert!(site.items(events).await == before);

    // What comes into the table meanwhile stays as it is.
    site.delete(events, &lost[0]).await;
    proxy.inject(&["PutItem"], 0..1, Fault::Delayed(Duration::from_secs(3)));
    let mut restoring = callbacks_command(&stack, &["restore", "--from", copy, "--json"]);
    let restoring = restoring.stdout(Stdio::piped()).spawn().unwrap();
    while !proxy.calls().iter().any(|call| call.ends_with("PutItem")) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut changed = before[&lost[0]].clone();
    changed.insert("traceparent".to_owned(), AttributeValue::S("changed".to_owned()));
    site.put(events, &changed).await;
    let output = restoring.wait_with_output().await.unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &summary["put_back"]), (Some(0), &json!(0)), "{summary}");
    assert!(site.items(events).await[&lost[0]] == changed);
    proxy.lift();
    site.put(events, &before[&lost[0]]).await;

    for (from, why) in [("no-such-table", "there is no table"), (events, "is the stack's own table")] {
        let (code, _, errors) = callbacks_and_errors(&site.stack, &["restore", "--from", from]).await;
        assert!(code == 1 && errors.contains(why), "{errors}");
    }
    // It has neither of them.
    let nobody = ["restore", "--from", copy, "--subject", "nobody"];
    let (code, _, errors) = callbacks_and_errors(&site.stack, &nobody).await;
    assert!(code == 1 && errors.contains("There is no such event in"), "{errors}");
}

/// With its row, the sequence that was sent comes back.
async fn rows_are_put_back_before_their_events(site: &Site) {
    assert_eq!(site.report(&site.stack.secrets["verifyvasp"], "both-lost").await, 200);
    let sent = site.receive(1).await.remove(0);
    let (events, rows) = (&site.stack.events_table, &site.stack.verifications_table);
    for table in [events, rows] {
        let restore = site.connections.dynamodb.restore_table_to_point_in_time().source_table_name(table);
        let restore = restore.target_table_name(format!("{table}-both")).use_latest_restorable_time(true);
        restore.send().await.unwrap();
    }
    let row_before = site.items(rows).await;
    let event = ("both-lost".to_owned(), sent["id"].as_str().unwrap().to_owned());
    let row = row_before.keys().find(|(pk, _)| pk == "verifyvasp#both-lost").unwrap();
    site.delete(rows, row).await;
    site.delete(events, &event).await;

    let (from, rows_from) = (format!("{events}-both"), format!("{rows}-both"));
    let restore = ["restore", "--from", &from, "--subject", "both-lost"];
    let look = [&restore[..], &["--dry-run"]].concat();
    let (code, lines, errors) = callbacks_and_errors(&site.stack, &look).await;
    assert!(code == 0 && lines.lines().count() == 1 && lines.contains("both-lost"), "{lines}");
    assert!(errors.contains("1 events and 0 parts of bodies would be put back (1 that no row holds"), "{errors}");
    assert!(!site.items(events).await.contains_key(&event));

    let both = [&restore[..], &["--rows-from", &rows_from, "--json"]].concat();
    let (code, summary) = site.callbacks(&both).await;
    let put_back = json!({ "put_back": 1, "there_already": 0 });
    assert_eq!((code, &summary["put_back"], &summary["decided_again"]), (0, &json!(1), &json!(0)));
    assert_eq!(summary["rows"], put_back);
    site.until_published_twice(sent["id"].as_str().unwrap()).await;
    assert!(site.items(rows).await == row_before, "nothing was decided again");
    // What SQS has not dropped is none of the next drill.
    site.connections.sqs.purge_queue().queue_url(&site.stack.verification_queue_url).send().await.unwrap();
}

/// An item's partition key and sort key.
type Key = (String, String);

/// The items of a table, by their keys.
type Items = BTreeMap<Key, HashMap<String, AttributeValue>>;

impl Site {
    /// All items of a table.
    async fn items(&self, table: &str) -> Items {
        let scan = self.connections.dynamodb.scan().table_name(table).consistent_read(true);
        let items = scan.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await.unwrap();
        let key = |item: &HashMap<String, AttributeValue>, name: &str| item[name].as_s().unwrap().clone();
        items.into_iter().map(|item| ((key(&item, "pk"), key(&item, "sk")), item)).collect()
    }

    async fn put(&self, table: &str, item: &HashMap<String, AttributeValue>) {
        let put = self.connections.dynamodb.put_item().table_name(table).set_item(Some(item.clone()));
        put.send().await.unwrap();
    }

    async fn delete(&self, table: &str, (pk, sk): &Key) {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let delete = self.connections.dynamodb.delete_item().table_name(table);
        delete.key("pk", text(pk)).key("sk", text(sk)).send().await.unwrap();
    }

    /// Runs the command, and returns its exit code and the JSON that it prints.
    async fn callbacks(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, printed) = callbacks(&self.stack, arguments).await;
        (code, serde_json::from_str(&printed).unwrap())
    }

    /// Sends a wallet's callback about this verification whose body is stored in three parts.
    async fn large_callback(&self, subject: &str) {
        let announcement = Announcement {
            purpose: Purpose::Verification,
            code: format!("code-of-{subject}"),
            state: Some(subject.to_owned()),
            template_ids: Vec::new(),
            due_at: None,
        };
        let announced = announce(&self.http, &self.stack, &self.connections, &announcement).await.unwrap();
        assert_eq!(announced.0, 201);
        let issuer = Issuer::of(&self.stack).unwrap();
        let claims = json!({ "iss": issuer.issuer, "jwks_uri": issuer.jwks_url, "vp_token": "x".repeat(450_000) });
        let token = issuer.key.sign(&claims).unwrap();
        let tokens = json!({ "1": { "token": token, "status": "COMPLETED" } });
        let body = json!({ "state": subject, "code": announcement.code, "tokens": tokens }).to_string();
        assert!((512..768).contains(&(body.len() / 1024)), "{}", body.len());
        let request = self.http.post(self.stack.url("wallet-verification").unwrap()).body(body);
        let request = request.header("content-type", "application/json");
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
}

async fn a_provider_is_let_in_from_new_networks(site: &Site) {
    site.configure("jumio", "ALLOWED_NETWORKS", "192.0.2.0/24").await;
    let call = async |reference: &str| {
        let form = format!(
            "callBackType=NETVERIFY_AUTHENTICATION&transactionReference={reference}&transactionResult=PASSED&callbackDate=2026-01-31T00:00:00.000Z"
        );
        let request = site.http.post(site.stack.url("jumio").unwrap()).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(call("network-1").await, 403);
    site.run("### Let a provider's new addresses in", 0).await;
    assert_eq!(call("network-2").await, 200);
    assert_eq!(site.receive(1).await[0]["subject"], "network-2");
    let said = site.run("### Let a provider's new addresses in", 1).await;
    // The emulator does not look at patterns of JSON, so what it finds in the log is not of interest.
    assert!(said.contains("network-2"), "{said}");
}

/// The commands of all documents but those that are run one by one, or are listed with the reason why they are not.
///
/// A command may find nothing, and then exits with 1. But each is there, is understood, and does not fail.
async fn every_other_command_of_the_documents_runs(site: &Site) {
    let items = site.items(&site.stack.events_table).await;
    let of_wallet =
        items.values().find(|item| item.get("kind").is_some_and(|kind| kind.as_s().unwrap() == "wallet.verification"));
    let [subject, event] = ["pk", "sk"].map(|key| of_wallet.unwrap()[key].as_s().unwrap().as_str());
    let local = site.root.join("target/drills/local.json");
    std::fs::write(&local, serde_json::to_string(&site.stack).unwrap()).unwrap();
    // What is `callbacks` of the sources there is the one that is built, and the local stack is this one.
    let cargo = r#"
        cargo() {
            case "$1 $2" in
                "callbacks local") ;;
                "callbacks tail") callbacks "${@:2}" --quiet 1 --stack-file "$LOCAL" ;;
                "callbacks "*) callbacks "${@:2}" --stack-file "$LOCAL" ;;
                *) echo "error: cargo $*" >&2 ;;
            esac
        }"#;
    let is_listed = |block: &Block| {
        let elsewhere = RUN_ELSEWHERE.iter().map(|(document, beginning, ..)| (document, beginning));
        let not_run = NOT_RUN.iter().map(|(document, beginning, _)| (document, beginning));
        elsewhere.chain(not_run).any(|(document, beginning)| {
            block.document == *document && block.commands.trim_start().starts_with(beginning)
        })
    };
    let drills = site.runbook.split_once("\n## Drills\n").unwrap().1;
    let mut blocks: Vec<Block> = blocks().into_iter().filter(|block| !is_listed(block)).collect();
    blocks.retain(|block| block.document != "docs/runbook.md" || !drills.contains(&block.commands));
    // What is sent has the secrets that the functions know, before those are rotated.
    blocks.sort_by_key(|block| !block.commands.contains("callbacks send"));
    assert!(blocks.len() > 40, "{}", blocks.len());
    let mut failed = Vec::new();
    for (n, Block { document, commands }) in blocks.iter().enumerate() {
        let commands: String = [
            ("http://localhost:4566", site.stack.endpoint_url.as_deref().unwrap()),
            ("cargo callbacks restore --from TABLE", "# A drill restores: cargo callbacks restore --from TABLE"),
            ("--state STATE", "--state documented-state"),
            ("echo CODE", "echo a-documented-code"),
            ("--stack NAME", "--stack \"$STACK\""),
            ("SUBJECT ", &format!("{subject} ")),
            ("EVENT ", &format!("{event} ")),
            ("example-code", &format!("a-code-of-block-{n}")),
        ]
        .into_iter()
        .fold(commands.clone(), |commands, (shown, here)| commands.replace(shown, here));
        let providers: &[&str] =
            if commands.contains("$P") || commands.contains("${P}") { &["verifyvasp", "wallet"] } else { &[""] };
        for provider in providers {
            // Some ask for a key, some for two.
            let keys = "exec < <(printf '%s\\n' a-documented-key another-documented-key)";
            let script = format!("set -u\n{keys}\n{}\n{cargo}\n{commands}", site.definitions());
            let mut shell = site.shell(&script);
            shell.env("LOCAL", &local).envs([("P", *provider), ("EVENT", event), ("SUBJECT", subject)]);
            // Defined before, in documents whose blocks go on with each other.
            let provider_of_page = document.trim_start_matches("docs/providers/").trim_end_matches(".md");
            let secret = site.stack.secret_ids.get(provider_of_page).map_or("", String::as_str);
            shell.env("SECRET", secret).stdin(Stdio::null()).kill_on_drop(true);
            let output = tokio::time::timeout(Duration::from_secs(120), shell.output()).await;
            let output = output.unwrap_or_else(|_| panic!("{document}: {commands} does not end")).unwrap();
            let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
            eprintln!("{document} {provider}:\n{commands}{said}");
            let begins = ["error: ", "Usage: ", "usage: ", "Traceback", "An error occurred"];
            let holds = [": command not found", "unbound variable", "WRONG"];
            let failed_line = |line: &str| begins.iter().any(|sign| line.trim_start().starts_with(sign));
            let exits = output.status.code().is_some_and(|code| code < 2);
            if !exits || said.lines().any(failed_line) || holds.iter().any(|sign| said.contains(sign)) {
                failed.push(format!("{document} {provider}:\n{commands}{said}"));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// So that there is something to see on the dashboard.
async fn much_comes_at_once(site: &Site) {
    let number = |number| NonZeroUsize::new(number).unwrap();
    let plan =
        Plan { callbacks: number(300), concurrency: number(2), duplicates: 20, forged: 10, huge: 0, seed: Some(1) };
    let report = load::run(&site.stack, plan).await.unwrap();
    assert!(report.is_clean(), "{report}");
}

/// Every sample once, and then what goes wrong seldom.
async fn everything_that_can_be_logged_is(site: &Site) {
    // Whether each is as it should be is another test's matter.
    courses(&site.stack, Sample::all(&site.root).unwrap()).await.unwrap();
    let secret = &site.stack.secrets["verifyvasp"];
    assert_eq!(site.post(secret, "x".repeat(1024 * 1024)).await, 413);
    // Twice the same.
    assert_eq!(site.report(secret, "twice").await, 200);
    assert_eq!(site.report(secret, "twice").await, 200);
    site.receive(1).await;

    // A status that comes too late, of one process; two final ones, of another.
    for (process, status) in [("late", "accepted"), ("late", "pending"), ("both", "accepted"), ("both", "rejected")] {
        let body = json!({ "dossierId": "example", "processId": process, "status": status }).to_string();
        let request = site.http.post(site.stack.url("signicat").unwrap()).body(body);
        let request = request.header("authorization", &site.stack.secrets["signicat"]);
        assert_eq!(request.header("content-type", "application/json").send().await.unwrap().status(), 200);
        site.receive(1).await;
    }

    // A verdict that nobody knows of, one about which the provider cannot be asked, and an announcement that is none.
    let set = ["provider", "set", "identomat", "cannot-be-asked", "server-error"];
    assert_eq!(callbacks(&site.stack, &set).await.0, 0);
    for (subject, due, code) in [
        ("unknown", "2026-01-31T00:00:00Z", 0),
        ("cannot-be-asked", "2026-01-31T00:00:00Z", 0),
        ("unknown", "2026-01-31T00:00:01Z", 1),
    ] {
        let expect = ["expect", "identomat", "--subject", subject, "--due-at", due];
        assert_eq!(callbacks(&site.stack, &expect).await.0, code, "{subject} {due}");
    }
    site.until_logged("overdue").await;
    site.until_logged("failed to ask a provider").await;
    // Both were due long ago, so there is no later time at which the provider could be asked again.
    site.receive(2).await;

    // Spilled and drained, and then neither.
    let table = site.configure("verifyvasp", "EVENTS_TABLE", "no-such-table").await;
    assert_eq!(site.report(secret, "spilled").await, 200);
    site.receive(1).await;
    let queue = site.configure("verifyvasp", "SPILL_QUEUE_URL", "http://localhost:9/no-such-queue").await;
    assert_eq!(site.report(secret, "unavailable").await, 503);
    site.configure("verifyvasp", "SPILL_QUEUE_URL", &queue).await;
    site.configure("verifyvasp", "EVENTS_TABLE", &table).await;

    // A drain whose table is gone, and what is no event.
    let table = site.configure("spill-drain", "EVENTS_TABLE", "no-such-table").await;
    for body in [json!("no event"), spilled()] {
        let send = site.connections.sqs.send_message().queue_url(&queue);
        send.message_body(body.to_string()).send().await.unwrap();
    }
    site.until_logged("failed to read what was spilled").await;
    site.until_logged("the table still does not take it").await;
    site.configure("spill-drain", "EVENTS_TABLE", &table).await;

    // An item that no version wrote, a verdict that no queue takes, and a password that nobody may have any more.
    let items = site.connections.dynamodb.put_item().table_name(&table);
    let key = |name: &str| AttributeValue::S(name.to_owned());
    let unreadable = HashMap::from(["pk", "sk", "kind"].map(|name| (name.to_owned(), key("unreadable"))));
    items.clone().set_item(Some(unreadable)).send().await.unwrap();
    site.until_logged("failed to read a record").await;
    let expired = serde_dynamo::to_item(expired()).unwrap();
    items.set_item(Some(expired)).send().await.unwrap();
    site.until_logged("expired before it could be delivered").await;
    let url = site.configure("publisher", "VERIFICATION_QUEUE_URL", "http://localhost:9/no-such-queue.fifo").await;
    assert_eq!(site.report(secret, "unpublished").await, 200);
    site.until_logged("not published").await;
    site.configure("publisher", "VERIFICATION_QUEUE_URL", &url).await;

    a_callback_is_answered_late(site).await;

    // A secret that is not there.
    let arn =
        site.configure("verifyvasp", "SECRET", "arn:aws:secretsmanager:eu-central-1:000000000000:secret:none").await;
    assert_eq!(site.report(secret, "unknown").await, 503);
    site.configure("verifyvasp", "SECRET", &arn).await;
}

/// It is looked up and spilled at the second attempt, and not stored at all: over 6 of the 10 s that its provider allows.
async fn a_callback_is_answered_late(site: &Site) {
    let endpoint_url = site.stack.endpoint_url.clone().unwrap();
    let proxy = Proxy::start(endpoint_url.clone()).await;
    let without_answer = Fault::Delayed(Duration::from_secs(20));
    for (action, calls) in [("GetItem", 0..1), ("PutItem", 0..usize::MAX), ("SendMessage", 0..1)] {
        proxy.inject(&[action], calls, without_answer);
    }
    for service in ["DYNAMODB", "SQS"] {
        let variable = format!("AWS_ENDPOINT_URL_{service}");
        site.configure("wallet-issuance", &variable, &proxy.endpoint_url).await;
    }
    let sample = site.root.join("events/wallet-issuance/issued.json").display().to_string();
    let (code, said) = callbacks(&site.stack, &["send", &sample]).await;
    assert!(code == 0 && said.contains("200"), "{said}");
    for service in ["DYNAMODB", "SQS"] {
        site.configure("wallet-issuance", &format!("AWS_ENDPOINT_URL_{service}"), &endpoint_url).await;
    }
    site.receive(1).await;
}

impl Site {
    /// Waits until the message of this event was sent for the second time.
    async fn until_published_twice(&self, id: &str) {
        let began = Instant::now();
        loop {
            let lines = self.lines().await;
            let published = lines.iter().flat_map(|line| line["event.ids"].as_array().into_iter().flatten());
            if published.filter(|published| *published == id).count() == 2 {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{id} is not published again");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn until_logged(&self, message: &str) {
        let began = Instant::now();
        while !self.lines().await.iter().any(|line| line["message"] == message) {
            assert!(began.elapsed() < Duration::from_secs(60), "nobody says {message:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

fn stored() -> Value {
    json!({
        "pk": "stored", "sk": "stored", "provider": "identomat", "source": "/callbacks/identomat", "kind": "identomat.one-time-password",
        "track": "one-time-password", "policy": "reopens",
        "outcome": "none", "reasons": [], "assurance": "shared_secret", "received_at": "2026-01-31T00:00:00.000Z", "details": {},
        "body": [], "day": "2026-01-31#0", "expires_at": 4_000_000_000_i64,
    })
}

fn spilled() -> Value {
    json!({ "item": { "event": stored() }, "body": "" })
}

fn expired() -> StoredEvent {
    let event: StoredEvent = serde_json::from_value(stored()).unwrap();
    // Not the key of the one that is drained, or it depends on when the table deletes this one what that comes to.
    let name = "expired".to_owned();
    StoredEvent { subject: name.clone(), id: name, perishable: true, expires_at: 1_000_000_000, ..event }
}

fn the_fields_of_the_logs_are_those_of_the_page(lines: &[Value]) {
    let page = Page::read("docs/LOGGING.md");
    let lines: Vec<_> = lines.iter().filter(|line| line.get("target").is_some()).collect();
    let fields: BTreeSet<&str> =
        lines.iter().flat_map(|line| line.as_object().unwrap().keys()).map(String::as_str).collect();
    assert_eq!(fields, page.first_cells("## Fields").into_iter().collect());
    let listed = page.first_cells("## Lines");
    for line in lines.iter().filter(|line| !line["target"].as_str().unwrap().starts_with("lambda_runtime")) {
        let message = line["message"].as_str().unwrap();
        assert!(listed.contains(&message), "{message:?} is not listed");
    }
}

/// The metrics that lines in the embedded format are, each with the names of its dimensions.
fn metrics(lines: &[Value]) -> BTreeSet<(String, Vec<String>)> {
    let mut found = BTreeSet::new();
    for line in lines {
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
            assert_eq!(directive["Namespace"], NAME, "{line}");
            let texts = |value: &Value| -> Vec<String> {
                value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
            };
            for metric in directive["Metrics"].as_array().unwrap() {
                let name = metric["Name"].as_str().unwrap();
                let sets: Vec<Vec<String>> = directive["Dimensions"].as_array().unwrap().iter().map(texts).collect();
                let sets = if sets.is_empty() { vec![Vec::new()] } else { sets };
                for mut dimensions in sets {
                    dimensions.sort();
                    found.insert((name.to_owned(), dimensions));
                }
            }
        }
    }
    found
}

fn the_metrics_are_those_of_the_page(lines: &[Value]) {
    let page = Page::read("docs/LOGGING.md");
    let mut listed = BTreeSet::new();
    for row in page.rows("## Metrics") {
        for set in row[1].split('`').skip(1).step_by(2) {
            let mut dimensions: Vec<String> =
                set.split(", ").filter(|&name| name != "none").map(str::to_owned).collect();
            dimensions.sort();
            listed.insert((row[0].trim_matches('`').to_owned(), dimensions));
        }
    }
    assert_eq!(metrics(lines), listed);
}

/// A page with tables.
struct Page(String);

impl Page {
    fn read(path: &str) -> Self {
        Self(std::fs::read_to_string(cli::project_root().unwrap().join(path)).unwrap())
    }

    /// The rows of the tables in a section, those that begin with code.
    fn rows(&self, title: &str) -> Vec<Vec<&str>> {
        let (_, section) = self.0.split_once(&format!("{title}\n")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
    }

    fn first_cells(&self, title: &str) -> Vec<&str> {
        self.rows(title).into_iter().map(|row| row[0].trim_matches('`')).collect()
    }
}

/// Draws the dashboard with what was counted, which fails if it shows what nobody counts. The picture is docs/dashboard.png; to renew it, copy the one that is drawn here.
async fn the_dashboard_shows_nothing_that_nobody_counts(site: &Site, lines: &[Value], queues: Vec<Value>) {
    let dashboard =
        site.ask("monitoring", "GraniteServiceVersion20100801.GetDashboard", json!({ "DashboardName": NAME })).await;
    let dashboard: Value = serde_json::from_str(dashboard["DashboardBody"].as_str().unwrap()).unwrap();
    let filters = site.ask("logs", "Logs_20140328.DescribeMetricFilters", json!({})).await;
    let filters = filters["metricFilters"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|filter| filter["metricTransformations"].as_array().unwrap());
    let filters: Vec<&Value> = filters.map(|transformation| &transformation["metricName"]).collect();
    let cloudformation = &site.connections.cloudformation;
    let listed = cloudformation.list_stack_resources().stack_name(NAME).into_paginator().items().send();
    let listed = listed.collect::<Result<Vec<_>, _>>().await.unwrap();
    // Queues are known by their URLs, and their metrics by their names.
    let resources: Vec<&str> = listed
        .iter()
        .filter_map(|resource| resource.physical_resource_id())
        .map(|id| id.rsplit('/').next().unwrap())
        .collect();
    let metrics: Vec<&Value> = lines.iter().filter(|line| line.get("_aws").is_some()).collect();
    let run = json!({
        "namespace": NAME, "dashboard": dashboard, "metrics": metrics, "queues": queues, "filters": filters, "resources": resources,
    });
    let folder = site.root.join("target/drills");
    std::fs::write(folder.join("run.json"), run.to_string()).unwrap();
    let bin = python::install("dashboard").await;
    let mut render = Command::new(bin.join("python"));
    render
        .arg(site.root.join("tests/dashboard/render.py"))
        .arg(folder.join("run.json"))
        .arg(folder.join("dashboard.png"));
    python::run(&mut render).await;
}

/// Looks how full the queues are, twice a second, until it is told to stop.
async fn watch_queues(connections: Connections, urls: Vec<String>, stop: Arc<AtomicBool>) -> Vec<Value> {
    use QueueAttributeName::{ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible};
    let mut samples = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for url in &urls {
            let look = connections.sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
            let attributes = look.send().await.unwrap().attributes.unwrap();
            let count = |name| attributes.get(&name).and_then(|count| count.parse::<u32>().ok()).unwrap_or_default();
            samples.push(json!({
                "time": runtime::now().as_millisecond() / 1000,
                "queue": url.rsplit('/').next(),
                "ApproximateNumberOfMessagesVisible": count(ApproximateNumberOfMessages),
                "ApproximateNumberOfMessagesNotVisible": count(ApproximateNumberOfMessagesNotVisible),
            }));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    samples
}
