//! `callbacks prove`, on a local stack: it finds everything good, leaves nothing behind, and finds what is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_sdk_sqs::types::QueueAttributeName::{ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible};
use cli::{
    local::{Folder, Lifetime, LocalStack},
    sample::Sample,
    stack::{Connections, Stack},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tests::{FUNCTIONS, callbacks, callbacks_and_errors, callbacks_command, free_port};
use tokio::time::{Instant, sleep};

/// One stack for everything: the parts of this test follow each other on it, and each begins with empty tables.
#[tokio::test]
async fn a_stack_is_proven_and_left_as_it_was() {
    let folder = Folder::named("prove").unwrap();
    let local = LocalStack::start(folder, Some(free_port()), Lifetime::Attached).await.unwrap();
    let site = Site { connections: local.stack.connect().await, stack: local.stack.clone() };

    everything_is_good_and_nothing_is_left(&site).await;
    its_messages_are_taken_out_and_those_of_others_stay(&site).await;
    ctrl_c_deletes_what_was_made(&site).await;
    a_deployed_stack_is_proven_from_an_address_that_is_not_its_provider_s(&site).await;
    what_is_wrong_is_found(&site).await;
    nothing_is_sent_to_a_deployed_stack_unasked(&site).await;
}

struct Site {
    stack: Stack,
    connections: Connections,
}

async fn everything_is_good_and_nothing_is_left(site: &Site) {
    let (code, report) = site.prove(&["--runs", "3"]).await;
    assert_eq!((code, verdicts(&report, "wrong")), (0, vec![]), "{report}");
    let good: BTreeSet<String> = verdicts(&report, "good").into_iter().collect();
    let refused = tests::samples().into_iter().filter(|sample| [401, 403].contains(&sample.expect.status));
    let refused: Vec<Sample> = refused.collect();
    assert!(refused.len() > 15);
    for sample in &refused {
        let check = format!("{}: {} is refused", sample.function, sample.name());
        assert!(good.contains(&check), "{check} {good:?}");
    }
    for function in FUNCTIONS {
        for check in [
            "each callback is stored",
            "the first one is published, and the API says where it stands",
            "6 more callbacks are acknowledged",
            "all of them are decided about",
        ] {
            assert!(good.contains(&format!("{function}: {check}")), "{function}: {check} {good:?}");
        }
        let times = &report["times"][function];
        for (time, count) in [("first", 1), ("at_once", 3), ("in_turn", 3), ("decided", 7)] {
            assert_eq!(times[time]["count"], count, "{function} {time}");
            let millisecond = |quantile: &str| times[time][quantile].as_f64().unwrap();
            let (half, most, all) = (millisecond("p50_ms"), millisecond("p99_ms"), millisecond("max_ms"));
            assert!((0.0..=most).contains(&half) && most <= all && all < 60_000.0, "{function} {time} {times}");
        }
        assert_eq!(times["in_queue"], Value::Null, "nobody looked");
    }
    for check in [
        "wallet-verification: a body that is too large for one item is stored in parts",
        "expectations: refused without a signature",
        "verifications: refused without a signature",
        "verifications: finds a subject with a slash, a blank and a per cent sign",
    ] {
        assert!(good.contains(check), "{check} {good:?}");
    }

    // Of each function two equal ones, and seven more; one with a large body, and one with an unusual subject.
    let of_functions = FUNCTIONS.len() * 8 + 2;
    let deleted = &report["deleted"];
    // And the announcements of wallets' codes, which are events too.
    let [events, expectations] = ["events", "expectations"].map(|what| deleted[what].as_u64().unwrap());
    let callbacks = of_functions as u64;
    assert!((callbacks + 1..=callbacks + expectations).contains(&events), "{deleted}");
    assert_eq!(deleted["left"], json!([]), "{deleted}");
    for (what, at_least) in
        [("parts", 1), ("rows", of_functions - FUNCTIONS.len()), ("claims", 1), ("expectations", 10)]
    {
        assert!(deleted[what].as_u64() >= Some(at_least as u64), "{what} {deleted}");
    }
    site.assert_empty().await;

    // What cannot be taken back can be recognized, and nobody is approved by it.
    let prefix = report["subjects"].as_str().unwrap();
    let received = site.take().await;
    assert_eq!(received.len(), of_functions - FUNCTIONS.len(), "one of two equal ones is published");
    for message in &received {
        assert!(message["subject"].as_str().unwrap().starts_with(prefix), "{message}");
        assert!(message["outcome"] != "approved", "{message}");
    }
}

async fn its_messages_are_taken_out_and_those_of_others_stay(site: &Site) {
    let other = json!({
        "specversion": "1.0", "id": "other", "source": "/callbacks/jumio", "type": "verification.jumio.netverify-authentication",
        "subject": "other", "time": "2026-01-31T00:00:00.000Z", "datacontenttype": "application/json",
        "sequence": "0001769817600000", "outcome": "approved", "assurance": "source_address",
        "data": { "provider": "jumio", "track": "netverify-authentication", "reasons": [], "received_at": "2026-01-31T00:00:00.000Z", "details": {} },
    });
    let url = &site.stack.verification_queue_url;
    let send = site.connections.sqs.send_message().queue_url(url).message_body(other.to_string());
    send.message_group_id("other").message_deduplication_id("other").send().await.unwrap();

    let (code, report) = site.prove(&["--runs", "2", "--only", "verifyvasp", "--receive"]).await;
    assert_eq!((code, verdicts(&report, "wrong")), (0, vec![]), "{report}");
    assert!(verdicts(&report, "good").contains(&"verifyvasp: its messages are in the queue".to_owned()), "{report}");
    let in_queue = &report["times"]["verifyvasp"]["in_queue"];
    let checks = verdicts(&report, "good");
    let distinct: BTreeSet<&String> = checks.iter().collect();
    assert_eq!(distinct.len(), checks.len(), "each once: {checks:?}");
    // One of the first two, two at once, two in turn, and the one with an unusual subject.
    assert_eq!(in_queue["count"], 6, "{in_queue}");
    assert!(in_queue["max_ms"].as_f64().unwrap() < 60_000.0, "{in_queue}");
    assert_eq!(report["times"].as_object().unwrap().len(), 1, "only this function");
    assert_eq!(site.counts().await, (1, 0), "what is somebody else's can be received at once");
    assert_eq!(site.take().await, [other]);
    site.assert_empty().await;
}

async fn ctrl_c_deletes_what_was_made(site: &Site) {
    let arguments = ["prove", "--runs", "1000", "--only", "verifyvasp", "--json"];
    let mut command = callbacks_command(&site.stack, &arguments);
    let proving = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while site.items(&site.stack.events_table).await < 5 {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is stored");
        sleep(Duration::from_millis(100)).await;
    }
    kill(Pid::from_raw(proving.id().unwrap().try_into().unwrap()), Signal::SIGINT).unwrap();
    let output = proving.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["interrupted"], &report["deleted"]["left"]), (&json!(true), &json!([])), "{report}");
    assert!(report["deleted"]["events"].as_u64() >= Some(5), "{report}");
    site.assert_empty().await;
    site.take().await;
}

/// To the command, the emulator is a deployed stack like any other: with secrets that have to be looked up, and tokens that
/// nobody here can sign.
async fn a_deployed_stack_is_proven_from_an_address_that_is_not_its_provider_s(site: &Site) {
    let mut deployed = Stack { endpoint_url: None, wallet: None, ..site.stack.clone() };
    let listed = site.connections.secrets_manager.list_secrets().send().await.unwrap().secret_list.unwrap();
    for (function, secret) in &mut deployed.secrets {
        let is_of = |arn: &&str| arn.contains(&format!("{function}Secret"));
        *secret = listed.iter().filter_map(|secret| secret.arn()).find(is_of).unwrap().to_owned();
    }
    let prove = async || {
        let mut command = callbacks_command(&deployed, &["prove", "--yes", "--runs", "1", "--json"]);
        command.env("AWS_ENDPOINT_URL", site.stack.endpoint_url.as_deref().unwrap());
        command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
        let output = command.env("AWS_REGION", &site.stack.region).output().await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{errors}"));
        assert_eq!((output.status.code(), verdicts(&report, "wrong")), (Some(0), vec![]), "{report}");
        assert_eq!(report["deleted"]["left"], json!([]), "{report}");
        report
    };
    let acknowledged = "jumio: jumio/authentication-failed is acknowledged".to_owned();
    let report = prove().await;
    let good = verdicts(&report, "good");
    for check in ["wallet-verification: wallet-verification/untrusted-issuer is acknowledged", &acknowledged] {
        assert!(good.contains(&check.to_owned()), "{check} {good:?}");
    }
    // The gateway says which address it is, and here that is always this one.
    assert!(good.iter().all(|check| !check.contains("refused-wrong-address")), "{good:?}");

    let networks = site.configure("jumio", "ALLOWED_NETWORKS", "192.0.2.0/24").await;
    let report = prove().await;
    assert!(verdicts(&report, "look").contains(&acknowledged), "{report}");
    assert!(verdicts(&report, "good").contains(&"jumio: jumio/refused-wrong-secret is refused".to_owned()));
    assert!(report["times"]["jumio"].is_null() && report["times"]["identomat"].is_object(), "{report}");
    site.configure("jumio", "ALLOWED_NETWORKS", &networks).await;
    site.assert_empty().await;
    site.take().await;
}

async fn what_is_wrong_is_found(site: &Site) {
    // Somebody else's secret, so nothing is accepted.
    let mut ill = site.stack.clone();
    ill.secrets.insert("verifyvasp".to_owned(), "another-secret".to_owned());
    ill.routes.insert("signicat".to_owned(), ill.routes["verifyvasp"].clone());
    // A stack without wallets is as it should be.
    ill.routes.remove("expectations").unwrap();
    let only = ["prove", "--runs", "1", "--json", "--only", "verifyvasp", "--only", "signicat"];
    let (code, report) = callbacks(&ill, &only).await;
    let report: Value = serde_json::from_str(&report).unwrap();
    let wrong = verdicts(&report, "wrong");
    assert_eq!((code, wrong.len()), (1, 2), "{report}");
    for function in ["verifyvasp", "signicat"] {
        assert!(
            wrong.iter().any(|check| check.starts_with(function) && check.ends_with("is acknowledged")),
            "{wrong:?}"
        );
    }
    let reasons: BTreeMap<&str, &str> = report["findings"].as_array().unwrap().iter().map(about).collect();
    let answered = reasons.values().filter(|reason| reason.starts_with("answered 401 {}, not 200 {"));
    assert_eq!(answered.count(), 2, "{reasons:?}");
    assert_eq!(report["times"], json!({}), "there is nothing to be measured");

    // And one that accepts what it should refuse: what others know has become the previous secret.
    let secrets = &site.connections.secrets_manager;
    let listed = secrets.list_secrets().send().await.unwrap().secret_list.unwrap();
    let arn = listed.iter().filter_map(|secret| secret.arn()).find(|arn| arn.contains("verifyvaspSecret"));
    let sample =
        Sample::read(&cli::project_root().unwrap().join("events/verifyvasp/refused-wrong-token.json")).unwrap();
    let event: Value = serde_json::from_str(&sample.text).unwrap();
    let forged = event["headers"]["authorization"].as_str().unwrap().strip_prefix("Bearer ").unwrap();
    let pair = json!({ "current": site.stack.secrets["verifyvasp"], "previous": forged }).to_string();
    secrets.put_secret_value().secret_id(arn.unwrap()).secret_string(pair).send().await.unwrap();
    // New instances look it up when they start.
    site.configure("verifyvasp", "LOCAL_SECRET", "another instance").await;
    let (code, report) = site.prove(&["--runs", "1", "--only", "verifyvasp"]).await;
    let wrong = verdicts(&report, "wrong");
    assert_eq!((code, wrong), (1, vec!["verifyvasp: verifyvasp/refused-wrong-token is refused".to_owned()]));
    let mut reasons = report["findings"].as_array().unwrap().iter().map(about);
    let (_, why) = reasons.find(|(check, _)| check.contains("refused-wrong-token")).unwrap();
    assert!(why.starts_with("answered 200 ") && why.contains("It is stored"), "{why}");
}

async fn nothing_is_sent_to_a_deployed_stack_unasked(site: &Site) {
    let before = site.items(&site.stack.events_table).await;
    let deployed = Stack { endpoint_url: None, ..site.stack.clone() };
    let (code, printed, errors) = callbacks_and_errors(&deployed, &["prove"]).await;
    assert_eq!((code, printed.as_str()), (1, ""));
    assert!(errors.contains("none of them an approval") && errors.contains("add --yes"), "{errors}");
    let (code, _, errors) = callbacks_and_errors(&deployed, &["prove", "--yes", "--receive"]).await;
    assert!(code == 1 && errors.contains("--i-know-that-consumers-wait"), "{errors}");
    let (code, _, errors) = callbacks_and_errors(&site.stack, &["prove", "--only", "nobody"]).await;
    assert!(code == 1 && errors.contains("no callbacks for nobody"), "{errors}");
    assert_eq!(site.items(&site.stack.events_table).await, before);
}

/// The checks with this verdict, each after its function.
fn verdicts(report: &Value, verdict: &str) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter().filter(|finding| finding["verdict"] == verdict);
    let check =
        |finding: &Value| format!("{}: {}", finding["function"].as_str().unwrap(), finding["check"].as_str().unwrap());
    findings.map(check).collect()
}

/// A finding's check, and what it says about it.
fn about(finding: &Value) -> (&str, &str) {
    (finding["check"].as_str().unwrap(), finding["about"].as_str().unwrap_or_default())
}

impl Site {
    async fn prove(&self, more: &[&str]) -> (i32, Value) {
        let (code, report) = callbacks(&self.stack, &[&["prove", "--json"][..], more].concat()).await;
        (code, serde_json::from_str(&report).unwrap())
    }

    /// Sets a variable of a function's environment, and returns what it was. The emulator asks for no signature.
    async fn configure(&self, function: &str, variable: &str, value: &str) -> String {
        let endpoint_url = self.stack.endpoint_url.as_deref().unwrap();
        let url = format!("{endpoint_url}/2015-03-31/functions/{}/configuration", self.stack.functions[function]);
        let http = reqwest::Client::new();
        let configuration = http.get(&url).send().await.unwrap().text().await.unwrap();
        let mut configuration: Value = serde_json::from_str(&configuration).unwrap();
        let before = configuration["Environment"]["Variables"][variable].take();
        configuration["Environment"]["Variables"][variable] = json!(value);
        let body = json!({ "Environment": configuration["Environment"] });
        http.put(&url).body(body.to_string()).send().await.unwrap().error_for_status().unwrap();
        before.as_str().unwrap_or_default().to_owned()
    }

    /// How many items a table has.
    async fn items(&self, table: &str) -> usize {
        let scan = self.connections.dynamodb.scan().table_name(table).consistent_read(true);
        scan.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await.unwrap().len()
    }

    async fn assert_empty(&self) {
        for table in [&self.stack.events_table, &self.stack.verifications_table, &self.stack.expectations_table] {
            assert_eq!(self.items(table).await, 0, "{table}");
        }
    }

    /// How many verdicts can be received, and how many are hidden.
    async fn counts(&self) -> (usize, usize) {
        let names = [ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible];
        let asked = self.connections.sqs.get_queue_attributes().queue_url(&self.stack.verification_queue_url);
        let attributes = asked.set_attribute_names(Some(names.to_vec())).send().await.unwrap().attributes.unwrap();
        let count = |name| attributes[&name].parse().unwrap();
        (count(ApproximateNumberOfMessages), count(ApproximateNumberOfMessagesNotVisible))
    }

    /// Takes all verdicts out of the queue.
    async fn take(&self) -> Vec<Value> {
        let (sqs, url) = (&self.connections.sqs, &self.stack.verification_queue_url);
        let mut taken = Vec::new();
        loop {
            let receive = sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(1);
            let messages = receive.send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                return taken;
            }
            for message in messages {
                let delete = sqs.delete_message().queue_url(url).receipt_handle(message.receipt_handle.unwrap());
                delete.send().await.unwrap();
                taken.push(serde_json::from_str(&message.body.unwrap()).unwrap());
            }
        }
    }
}
