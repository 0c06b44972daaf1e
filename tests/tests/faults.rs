//! What can fail, made to fail: every call that the functions make, in every way, for every provider; and the functions themselves, killed. docs/reliability.md is
//! the table of it.
//!
//! The functions are their real binaries, run as Lambda runs them. Between them and the emulator stands a proxy in which calls go wrong, and their event source
//! mappings are those of the tests, since the emulator's get failures wrong.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use cli::{
    local::{Folder, Lifetime, LocalStack},
    sample::Sample,
};
use providers::registration;
use reqwest::Client;
use serde_json::Value;
use tests::{Answer, FUNCTIONS, Fault, Hosted, System, callbacks, free_port};

/// Longer than any function waits for a call.
const TOO_LONG: Duration = Duration::from_secs(5);

/// The ways in which any call can go wrong.
const FAULTS: [Fault; 8] = [
    Fault::Refused,
    Fault::Failed,
    Fault::Throttled,
    Fault::Delayed(TOO_LONG),
    Fault::AnswerDelayed(TOO_LONG),
    Fault::AnswerTruncated,
    Fault::AnswerDropped,
    Fault::Twice,
];

/// Only the first call, which the SDK tries again; or all until the fault is lifted.
const CALLS: [Range<usize>; 2] = [0..1, 0..usize::MAX];

const INSERT: [&str; 1] = ["PutItem"];
const SPILL: &str = "SendMessage";
const LOOK_UPS: [&str; 2] = ["GetSecretValue", "GetItem"];
const PUBLISH: [&str; 1] = ["SendMessageBatch"];
const ROWS: [&str; 2] = ["BatchGetItem", "UpdateItem"];
/// What every operation's name ends with.
const EVERYTHING: [&str; 1] = [""];

/// One stack for everything, as each part leaves it empty for the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_nothing_acknowledged_is_lost_and_nothing_is_doubled() {
    let local =
        LocalStack::start(Folder::named("faults").unwrap(), Some(free_port()), Lifetime::Attached).await.unwrap();
    let mut system = System::of(&local.stack).await;

    faults_of_the_request_path(&mut system).await;
    cold_starts_within_what_the_provider_gives(&mut system).await;
    faults_of_the_drain(&mut system).await;
    what_was_given_up_by_the_drain_is_redriven(&mut system).await;
    faults_of_the_publisher(&mut system).await;
    a_record_that_cannot_be_published_holds_nothing_up(&mut system).await;
    functions_killed_at_random_moments(&mut system).await;
}

/// Sends a callback of each function for each way in which its calls can go wrong, all functions side by side, and then again where it was not acknowledged.
async fn faults_of_the_request_path(system: &mut System<'_>) {
    let http = Client::new();
    let of_functions = FUNCTIONS.map(|function| request_path_of(system, function, &http));
    let (mut acknowledged, mut again) = (Vec::new(), Vec::new());
    for (answer, callback) in futures_util::future::join_all(of_functions).await.into_iter().flatten() {
        match answer {
            Answer::Acknowledged => acknowledged.push(callback),
            Answer::ComeAgain => again.push(callback),
        }
    }
    // In each of the two ways, for each function, or the faults were none.
    assert!(
        acknowledged.len() > again.len() && again.len() >= FUNCTIONS.len(),
        "{} {}",
        acknowledged.len(),
        again.len()
    );
    for callback in &acknowledged {
        system.note(callback);
    }
    for callback in &again {
        system.send_until_acknowledged(callback).await;
    }
    system.reconcile("faults of the request path").await;
}

async fn request_path_of(system: &System<'_>, function: &'static str, http: &Client) -> Vec<(Answer, Sample)> {
    let Hosted { function: host, proxy } = &system.providers[function];
    let mut sent = Vec::new();
    let operations = |fault| [&INSERT[..], &[INSERT[0], SPILL], &LOOK_UPS].map(|operations| (fault, operations));
    for (fault, operations) in FAULTS.into_iter().flat_map(operations).chain([(Fault::KeyDisabled, &INSERT[..])]) {
        for calls in CALLS {
            let lifts = calls.end == usize::MAX;
            let callback = system.callbacks(function, http).await.swap_remove(0);
            let case = format!("{function} {fault:?} {calls:?} {operations:?}");
            if operations == LOOK_UPS {
                // Secrets are looked up at the start of a process.
                host.end().await;
            }
            proxy.inject(operations, calls.clone(), fault);
            let mut answer = system.send(&callback).await;
            assert!(proxy.lift() > 0, "{case} was none");
            // What one of the two takes is kept, and so is what is tried again. But on a busy machine VerifyVASP's second may be over before.
            let is_kept = operations == INSERT || !lifts || fault == Fault::Twice;
            assert!(!is_kept || answer == Answer::Acknowledged || function == "verifyvasp", "{case}");
            assert!(is_kept || answer == Answer::ComeAgain, "{case}");
            if operations == LOOK_UPS && answer == Answer::ComeAgain {
                // The same process looks it up again a second later.
                tokio::time::sleep(Duration::from_secs(1)).await;
                answer = system.send(&callback).await;
                assert!(answer == Answer::Acknowledged || function == "verifyvasp", "{case}, a second later");
            }
            sent.push((answer, callback));
        }
    }
    sent
}

/// Starts each function while AWS is slow, and while nothing of AWS answers.
async fn cold_starts_within_what_the_provider_gives(system: &mut System<'_>) {
    let http = Client::new();
    for function in FUNCTIONS {
        let provider_gives = registration(function).unwrap().answer_within;
        for (delay, expected) in [(Duration::from_millis(100), Answer::Acknowledged), (TOO_LONG, Answer::ComeAgain)] {
            let callback = system.callbacks(function, &http).await.swap_remove(0);
            let Hosted { function: host, proxy } = &system.providers[function];
            host.end().await;
            proxy.inject(&EVERYTHING, 0..usize::MAX, Fault::Delayed(delay));
            let began = Instant::now();
            assert_eq!(system.send(&callback).await, expected, "{function} {delay:?}");
            // A second more, for a busy machine.
            let took = began.elapsed();
            assert!(took < provider_gives + Duration::from_secs(1), "{function} {delay:?}: {took:?}");
            assert!(proxy.lift() > 0);
            host.end().await;
            system.send_until_acknowledged(&callback).await;
        }
    }
    system.reconcile("after cold starts").await;
}

/// Spills callbacks, and lets the drain's calls go wrong.
async fn faults_of_the_drain(system: &mut System<'_>) {
    let http = Client::new();
    for fault in FAULTS.into_iter().chain([Fault::KeyDisabled]) {
        for function in FUNCTIONS {
            let callback = system.callbacks(function, &http).await.swap_remove(0);
            let proxy = &system.providers[function].proxy;
            proxy.inject(&INSERT, 0..usize::MAX, Fault::KeyDisabled);
            assert_eq!(system.send(&callback).await, Answer::Acknowledged);
            assert!(proxy.lift() > 0);
            system.note(&callback);
        }
        let proxy = &system.drain.proxy;
        // The first times of all that it does: then it may.
        let calls = if matches!(fault, Fault::Delayed(_) | Fault::AnswerDelayed(_)) { 4 } else { 8 };
        proxy.inject(&INSERT, 0..calls, fault);
        proxy.inject(&["ChangeMessageVisibility"], 0..2, fault);
        system.spill.run(&system.drain.function).await;
        assert!(proxy.lift() > 0, "{fault:?} was none");
        settle(fault).await;
    }
    assert!(system.spill.handed_over() > FAULTS.len() * FUNCTIONS.len(), "nothing came again");
    system.reconcile("faults of the drain").await;
}

/// Has the drain give up on what is spilled, as it does after a day.
async fn what_was_given_up_by_the_drain_is_redriven(system: &mut System<'_>) {
    let http = Client::new();
    for function in FUNCTIONS {
        let callback = system.callbacks(function, &http).await.swap_remove(0);
        let proxy = &system.providers[function].proxy;
        proxy.inject(&INSERT, 0..usize::MAX, Fault::Failed);
        assert_eq!(system.send(&callback).await, Answer::Acknowledged);
        proxy.lift();
        system.note(&callback);
    }
    for body in system.take(&system.stack.spill_queue_url).await {
        let send = system.connections.sqs.send_message().queue_url(&system.stack.spill_dead_letters_url);
        send.message_body(body).send().await.unwrap();
    }
    let (code, looked) = callbacks(system.stack, &["redrive", "--json"]).await;
    assert_eq!((code, looked.matches(r#""done":null"#).count()), (0, FUNCTIONS.len()), "{looked}");
    let (code, redriven) = callbacks(system.stack, &["redrive", "spill", "--json"]).await;
    assert_eq!((code, redriven.matches(r#""done":"sent""#).count()), (0, FUNCTIONS.len()), "{redriven}");
    system.reconcile("after what the drain gave up was redriven").await;
}

/// Has courses of several events published while the publisher's calls go wrong.
async fn faults_of_the_publisher(system: &mut System<'_>) {
    let http = Client::new();
    let of_rows = FAULTS.into_iter().chain([Fault::KeyDisabled]).map(|fault| (&ROWS[..], fault));
    let of_messages = FAULTS.into_iter().chain([Fault::HalfFailed]).map(|fault| (&PUBLISH[..], fault));
    for (calls, fault) in of_messages.chain(of_rows) {
        for function in FUNCTIONS {
            for callback in system.callbacks(function, &http).await {
                system.send_until_acknowledged(&callback).await;
            }
        }
        let proxy = &system.publisher.proxy;
        proxy.inject(
            calls,
            0..if matches!(fault, Fault::Delayed(_) | Fault::AnswerDelayed(_)) { 4 } else { 12 },
            fault,
        );
        system.stream.lock().await.run(&system.publisher.function).await;
        assert!(proxy.lift() > 0, "{fault:?} was none");
        settle(fault).await;
        system.reconcile(&format!("publishing, {calls:?} {fault:?}")).await;
    }
}

/// Waits until what is delayed was done.
async fn settle(fault: Fault) {
    if matches!(fault, Fault::Delayed(_)) {
        tokio::time::sleep(TOO_LONG).await;
    }
}

/// Puts an item into the table that is no event, and has the queue refuse one batch for longer than the mapping tries.
async fn a_record_that_cannot_be_published_holds_nothing_up(system: &mut System<'_>) {
    let http = Client::new();
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let put = system.connections.dynamodb.put_item().table_name(&system.stack.events_table);
    let put = put.item("pk", text("faults-poison")).item("sk", text("poison")).item("kind", text("from the future"));
    put.send().await.unwrap();
    for callback in system.callbacks("jumio", &http).await {
        system.send_until_acknowledged(&callback).await;
    }
    system.stream.lock().await.run(&system.publisher.function).await;
    let set_aside = system.unpublished().await;
    let keys: Vec<Value> = set_aside.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    assert_eq!(keys, [serde_json::json!({ "pk": "faults-poison", "sk": "poison" })]);
    let delete = system.connections.dynamodb.delete_item().table_name(&system.stack.events_table);
    delete.key("pk", text("faults-poison")).key("sk", text("poison")).send().await.unwrap();
    system.reconcile("beside an unreadable record").await;

    for callback in system.callbacks("jumio", &http).await {
        system.send_until_acknowledged(&callback).await;
    }
    let mut stream = system.stream.lock().await;
    let patience = std::mem::replace(&mut stream.max_age, Duration::from_millis(500));
    system.publisher.proxy.inject(&PUBLISH, 0..usize::MAX, Fault::Failed);
    stream.run(&system.publisher.function).await;
    assert!(system.publisher.proxy.lift() > 0);
    stream.max_age = patience;
    drop(stream);
    assert!(system.received().await.is_empty());
    // The record that Lambda leaves is all that is needed to send it after all.
    let (code, redriven) = callbacks(system.stack, &["redrive", "unpublished", "--json"]).await;
    assert!(code == 0 && redriven.contains(r#""done":"sent""#), "{code} {redriven}");
    system.reconcile("after what was given up was redriven").await;
}

/// Sends many callbacks at once, with repeats, while the drain and the publisher run, and something is killed every moment.
async fn functions_killed_at_random_moments(system: &mut System<'_>) {
    let http = Client::new();
    let mut courses = Vec::new();
    for _ in 0..8 {
        for function in FUNCTIONS {
            courses.push(system.callbacks(function, &http).await);
        }
    }
    let done = AtomicBool::new(false);
    // Some of it has to be spilled.
    for Hosted { proxy, .. } in system.providers.values() {
        proxy.inject(&INSERT, 5..15, Fault::Failed);
    }
    let send = async {
        for_each_at_once(&courses, 6, async |course: &Vec<Sample>| {
            for callback in course {
                // Until it is acknowledged, and once more: providers do that too.
                while system.send(callback).await == Answer::ComeAgain {}
                let _ = system.send(callback).await;
            }
        })
        .await;
        done.store(true, Ordering::Relaxed);
    };
    let publish = async {
        while !done.load(Ordering::Relaxed) {
            system.stream.lock().await.run(&system.publisher.function).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let drain = async {
        while !done.load(Ordering::Relaxed) {
            system.spill.run(&system.drain.function).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let hosted: Vec<&Hosted> = system.providers.values().chain([&system.drain, &system.publisher]).collect();
    let kill = async {
        // Any moment will do; what matters is that they are not always the same.
        let mut random = 1_u64;
        while !done.load(Ordering::Relaxed) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            tokio::time::sleep(Duration::from_millis((random >> 40) % 150)).await;
            hosted[usize::try_from(random >> 33).unwrap() % hosted.len()].function.kill();
        }
    };
    tokio::join!(send, publish, drain, kill);
    let kills: usize = hosted.iter().map(|hosted| hosted.function.kills()).sum();
    let failed: usize = hosted.iter().map(|hosted| hosted.proxy.lift()).sum();
    assert!(kills >= 20 && failed > 0, "{kills} killed, {failed} calls failed");
    for callback in courses.iter().flatten() {
        system.note(callback);
    }
    system.reconcile(&format!("after {kills} kills")).await;
}

/// Does this with each of them, some at a time.
async fn for_each_at_once<T>(things: &[T], at_once: usize, work: impl AsyncFn(&T)) {
    let next = AtomicUsize::new(0);
    let worker = async || {
        while let Some(thing) = things.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(thing).await;
        }
    };
    futures_util::future::join_all((0..at_once).map(|_| worker())).await;
}
