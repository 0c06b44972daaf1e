//! The whole stack from outside: HTTP in, SQS out, on the emulator.

use std::{collections::BTreeSet, num::NonZeroUsize};

use bench::load::{self, Plan};
use cli::{
    demo::courses,
    doctor::{Finding, Verdict, examine},
    events::Events,
    local::{Addresses, Folder, Lifetime, LocalStack},
    provider::{Control, Played, Scenario, Setting},
    sample::Sample,
    stack::Stack,
    verifications::fetch,
    verify::{Confirmed, confirm},
    wallet::{Announcement, Issuer, announce},
};
use jiff::SignedDuration;
use model::{Details, Outcome, Purpose, StoredEvent};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tests::{
    callbacks,
    contract::{check_attributes, check_message},
    free_port, samples, schemathesis,
};

/// One stack for everything: the parts of this test follow each other on it, and each begins with empty queues.
#[tokio::test]
async fn the_local_stack_does_the_main_job() {
    let folder = Folder::named("tests").unwrap();
    let local = LocalStack::start(folder, Some(free_port()), Lifetime::Attached).await.unwrap();
    let http = Client::new();

    the_doctor_finds_what_is_wrong_and_nothing_else(&local.stack).await;
    every_sample_gets_from_post_to_queue(&local.stack).await;
    other_methods_and_paths_are_not_found(&local.stack, &http).await;
    a_large_body_is_kept_or_refused_by_its_size(&local.stack, &http).await;
    copies_at_the_same_instant_become_one_message(&local.stack, &http).await;
    the_events_of_a_subject_arrive_in_order(&local.stack, &http).await;
    what_the_table_does_not_take_is_acknowledged_spilled_and_drained(&local.stack, &http).await;
    announcements_are_for_whoever_signs_for_aws(&local.stack, &http).await;
    so_are_questions_where_a_verification_stands(&local.stack, &http).await;
    a_large_wallet_callback_is_kept_and_can_be_verified_again(&local.stack, &http).await;
    events_are_listed_by_time_and_shown_by_verification(&local.stack).await;
    stored_events_are_replayed(&local.stack).await;
    what_was_not_understood_is_reprocessed(&local.stack).await;
    dead_letters_are_redriven(&local.stack).await;
    a_load_of_all_providers_reconciles(&local.stack).await;
    whatever_the_contract_allows_is_answered_as_it_says(&local.stack, &http).await;
    nothing_secret_or_personal_is_in_the_logs(&local.stack, &http).await;
}

/// What is not in `Providers` is not deployed, and the others go on with what they have.
#[tokio::test]
async fn one_provider_is_deployed_then_two_then_one_again() {
    let folder = Folder::named("deployments").unwrap();
    let one = parameters(&[("Providers", "jumio"), ("WalletGateway", "false")]);
    let addresses = Addresses { port: Some(free_port()), ..Addresses::default() };
    let mut local = LocalStack::start_with(folder, addresses, &one, Lifetime::Attached).await.unwrap();
    let http = Client::new();
    let secret = async |stack: &Stack| {
        let connections = stack.connect().await;
        let listed = connections.secrets_manager.list_secrets().send().await.unwrap().secret_list.unwrap();
        let arns = listed.into_iter().filter_map(|secret| secret.arn);
        arns.filter(|arn| arn.contains("jumioSecret")).collect::<Vec<_>>()
    };
    let jumio = samples().into_iter().find(|sample| sample.function == "jumio" && sample.expect.status == 200).unwrap();

    let first = local.stack.clone();
    assert_eq!(receivers(&first), ["jumio"]);
    assert_eq!(answer(&first, &http, "verifyvasp").await, None);

    local.deploy_again(&parameters(&[("Providers", "jumio,verifyvasp"), ("WalletGateway", "true")])).await.unwrap();
    let second = local.stack.clone();
    assert_eq!(receivers(&second), ["jumio", "verifyvasp", "wallet-issuance", "wallet-verification"]);
    assert_eq!(answer(&second, &http, "verifyvasp").await, Some(StatusCode::UNAUTHORIZED));
    assert_eq!(second.events_table, first.events_table);
    assert_eq!(secret(&second).await, secret(&first).await);

    local.deploy_again(&one).await.unwrap();
    assert_eq!(receivers(&local.stack), ["jumio"]);
    assert_eq!(answer(&second, &http, "verifyvasp").await, Some(StatusCode::NOT_FOUND));
    for course in courses(&local.stack, vec![jumio]).await.unwrap() {
        assert!(course.as_expected, "{course:?}");
    }
}

fn parameters(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The functions that receive callbacks.
fn receivers(stack: &Stack) -> Vec<&str> {
    let others = ["expectations", "verifications"];
    let routes: Vec<&str> = stack.routes.keys().map(String::as_str).filter(|name| !others.contains(name)).collect();
    let missing: Vec<_> = routes.iter().filter(|name| !stack.functions.contains_key(**name)).collect();
    assert!(missing.is_empty() && stack.functions.len() == routes.len() + 5, "{:?}", stack.functions);
    routes
}

/// What the route answers to an empty callback. None if the stack names no such route.
async fn answer(stack: &Stack, http: &Client, route: &str) -> Option<StatusCode> {
    let url = stack.url(route).ok()?;
    Some(http.post(url).send().await.unwrap().status())
}

async fn the_doctor_finds_what_is_wrong_and_nothing_else(stack: &Stack) {
    let (code, findings) = callbacks(stack, &["doctor", "--routes", "--json"]).await;
    assert!(code == 0 && findings.lines().count() > 15, "{findings}");
    assert!(findings.lines().all(|line| line.contains(r#""verdict":"good""#)), "{findings}");

    let mut ill = stack.clone();
    ill.version = "0.0.0".to_owned();
    ill.events_table = stack.expectations_table.clone();
    ill.delivery_dead_letters_url = format!("{}-that-is-not-there", stack.delivery_dead_letters_url);
    ill.routes.insert("jumio".to_owned(), "/nowhere".to_owned());
    let not_good = |finding: &&Finding| finding.verdict != Verdict::Good;
    let found: Vec<_> =
        examine(&ill, true).await.iter().filter(not_good).map(|finding| finding.check.clone()).collect();
    let table_of_events = ["its stream", "its index by-day"].map(str::to_owned);
    let queues = ["queue of the deliveries", "queue of the dead deliveries"].map(str::to_owned);
    let expected =
        [&["version 0.0.0".to_owned()], &table_of_events[..], &queues, &["route of jumio".to_owned()]].concat();
    assert_eq!(found, expected);
}

async fn every_sample_gets_from_post_to_queue(stack: &Stack) {
    // As they are in events/: the local stack's own issuer signs their tokens.
    let samples = Sample::all(&cli::project_root().unwrap()).unwrap();
    assert!(!samples.is_empty());
    for course in courses(stack, samples).await.unwrap() {
        assert!(course.as_expected, "{course:?}");
    }
}

async fn other_methods_and_paths_are_not_found(stack: &Stack, http: &Client) {
    let url = stack.url("verifyvasp").unwrap();
    for (method, url) in [
        (Method::GET, url.clone()),
        (Method::PUT, url.clone()),
        (Method::DELETE, url.clone()),
        (Method::POST, format!("{url}/more")),
        (Method::POST, url.replace("verifyvasp", "nobody")),
    ] {
        let response = http.request(method.clone(), &url).send().await.unwrap();
        let refused = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
        assert!(refused.contains(&response.status()), "{method} {url}: {}", response.status());
    }
}

async fn a_large_body_is_kept_or_refused_by_its_size(stack: &Stack, http: &Client) {
    for (kilobytes, status) in [(200, 200), (1024, 413)] {
        let noise = vec![b'x'; kilobytes * 1024];
        assert_eq!(post(stack, http, noise).await.0, status, "{kilobytes} KB");
    }
    let received = receive(stack, 1).await;
    assert_eq!(received[0]["type"], "verification.verifyvasp.unrecognized");
    assert_eq!(received[0]["data"]["unrecognized"], "not_json");
}

async fn copies_at_the_same_instant_become_one_message(stack: &Stack, http: &Client) {
    let body =
        json!({ "callbackType": "TX_REPORT", "data": { "verificationUuid": "copies", "txHash": "00" } }).to_string();
    let at_once = async |secret: &str| {
        let copies: Vec<_> = (0..20)
            .map(|_| {
                let request = http.post(stack.url("verifyvasp").unwrap()).bearer_auth(secret);
                tokio::spawn(request.header("content-type", "application/json").body(body.clone()).send())
            })
            .collect();
        let mut answers = Vec::new();
        for copy in copies {
            let response = copy.await.unwrap().unwrap();
            answers.push((response.status().as_u16(), response.text().await.unwrap()));
        }
        answers
    };
    // As many processes as there will be copies, first: here they all start on the same few processors.
    assert_eq!(at_once("forged").await, vec![(401, "{}".to_owned()); 20]);
    assert_eq!(at_once(&stack.secrets["verifyvasp"]).await, vec![(200, r#"{"result": true}"#.to_owned()); 20]);
    assert_eq!(receive(stack, 1).await.len(), 1);
}

async fn the_events_of_a_subject_arrive_in_order(stack: &Stack, http: &Client) {
    // Of a provider that gives more time than the slowest machine takes, so that nothing is spilled: that would come later.
    let dates: Vec<String> = (0..25).map(|n| format!("2026-01-31T00:00:{n:02}.000Z")).collect();
    for (date, n) in dates.iter().zip(0..) {
        let form = format!(
            "callBackType=NETVERIFY_AUTHENTICATION&transactionReference=order&transactionResult=FAILED&callbackDate={date}&n={n}"
        );
        let request = http.post(stack.url("jumio").unwrap()).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    }
    let received = receive(stack, dates.len()).await;
    let received: Vec<&str> = received.iter().map(|message| message["time"].as_str().unwrap()).collect();
    assert_eq!(received, dates);
}

async fn what_the_table_does_not_take_is_acknowledged_spilled_and_drained(stack: &Stack, http: &Client) {
    // The function is told of a table that does not exist; the drain knows better.
    configure(stack, http, "verifyvasp", "EVENTS_TABLE", "no-such-table").await;
    let report = |hash: &str| {
        json!({ "callbackType": "TX_REPORT", "data": { "verificationUuid": "spilled", "txHash": hash } }).to_string()
    };
    for hash in ["00", "00", "01"] {
        let answer = post(stack, http, report(hash).into_bytes()).await;
        assert_eq!(answer, (200, r#"{"result": true}"#.to_owned()));
    }
    let received = receive(stack, 2).await;
    assert_eq!(received.len(), 2, "{received:?}");

    // And when neither takes it, the provider is told to come again.
    configure(stack, http, "verifyvasp", "SPILL_QUEUE_URL", "http://localhost:9/no-such-queue").await;
    assert_eq!(post(stack, http, report("02").into_bytes()).await, (503, "{}".to_owned()));
    configure(stack, http, "verifyvasp", "EVENTS_TABLE", &stack.events_table).await;
    assert_eq!(post(stack, http, report("02").into_bytes()).await.0, 200);
    assert_eq!(receive(stack, 1).await.len(), 1);
    configure(stack, http, "verifyvasp", "SPILL_QUEUE_URL", &stack.spill_queue_url).await;
}

/// Sets a variable of a function's environment. The emulator asks for no signature.
async fn configure(stack: &Stack, http: &Client, function: &str, variable: &str, value: &str) {
    let endpoint_url = stack.endpoint_url.as_deref().unwrap();
    let url = format!("{endpoint_url}/2015-03-31/functions/{}/configuration", stack.functions[function]);
    let configuration = http.get(&url).send().await.unwrap().text().await.unwrap();
    let mut configuration: Value = serde_json::from_str(&configuration).unwrap();
    configuration["Environment"]["Variables"][variable] = json!(value);
    let body = json!({ "Environment": configuration["Environment"] });
    http.put(&url).body(body.to_string()).send().await.unwrap().error_for_status().unwrap();
}

async fn announcements_are_for_whoever_signs_for_aws(stack: &Stack, http: &Client) {
    let announcement = |state: &str| Announcement {
        purpose: Purpose::Verification,
        code: "a-code-of-the-tests".to_owned(),
        state: Some(state.to_owned()),
        template_ids: vec!["1".to_owned()],
        due_at: None,
    };
    let unsigned =
        http.put(stack.url("expectations").unwrap()).body(serde_json::to_string(&announcement("s")).unwrap());
    assert_eq!(unsigned.send().await.unwrap().status(), StatusCode::FORBIDDEN);

    let connections = stack.connect().await;
    for (state, status) in [("large", 201), ("large", 200), ("other", 409)] {
        let (answered, body) = announce(http, stack, &connections, &announcement(state)).await.unwrap();
        assert_eq!(answered, status, "{body}");
        assert!(!body.contains("a-code-of-the-tests"));
        assert_eq!(body.contains(r#""subject":"large""#), status != 409, "{body}");
    }
    // The code itself is nowhere in the table.
    let scanned = connections.dynamodb.scan().table_name(&stack.expectations_table).send().await.unwrap();
    assert!(scanned.count() > 0 && !format!("{:?}", scanned.items()).contains("a-code-of-the-tests"));
}

async fn so_are_questions_where_a_verification_stands(stack: &Stack, http: &Client) {
    let url = stack.url("verifications").unwrap();
    let unsigned = http.get(url.replace("{provider}", "verifyvasp").replace("{subject}", "spilled"));
    assert_eq!(unsigned.send().await.unwrap().status(), StatusCode::FORBIDDEN);

    let connections = stack.connect().await;
    let ask = async |subject: &str| fetch(http, stack, &connections, "verifyvasp", subject).await.unwrap();
    assert_eq!(ask("nobody").await, None);
    // Whatever characters a reference has.
    for subject in ["plain", "with space", "with/slash", "50%41", "\u{fc}ml\u{e4}ut", "a+b&c=d?e#f"] {
        for result in ["DENIED", "DENIED", "VERIFIED"] {
            let data = json!({ "verificationUuid": subject, "result": result });
            let body = json!({ "callbackType": "VERIFICATION_RESULT", "data": data });
            assert_eq!(post(stack, http, body.to_string().into_bytes()).await.0, 200);
        }
        receive(stack, 2).await;
        let answer = ask(subject).await.unwrap_or_else(|| panic!("{subject} is not found"));
        let track = &answer["verifications"][0];
        assert_eq!((&answer["subject"], &track["track"]), (&json!(subject), &json!("verification")));
        assert_eq!((&track["outcome"], &track["callbacks"]), (&json!("approved"), &json!(3)));
        assert_eq!((&track["conflict"], &track["final"]), (&json!(true), &json!(true)));
        assert_eq!(answer["events"].as_array().unwrap().len(), 2);

        let (code, shown) = callbacks(stack, &["show", subject, "--json"]).await;
        assert_eq!((code, shown.lines().count()), (0, 4));
        assert_eq!(serde_json::from_str::<Value>(shown.lines().next().unwrap()).unwrap(), answer);
    }
}

async fn a_large_wallet_callback_is_kept_and_can_be_verified_again(stack: &Stack, http: &Client) {
    let issuer = Issuer::of(stack).unwrap();
    let claims = json!({ "iss": issuer.issuer, "jwks_uri": issuer.jwks_url, "vp_token": "x".repeat(1_500_000) });
    let token = issuer.key.sign(&claims).unwrap();
    let body = json!({
        "state": "large", "code": "a-code-of-the-tests", "tokens": { "1": { "token": token, "status": "COMPLETED" } },
    });
    assert!(body.to_string().len() > 2_000_000);
    let request = http.post(stack.url("wallet-verification").unwrap()).header("content-type", "application/json");
    let response = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);

    let message = receive(stack, 1).await.remove(0);
    assert_eq!((&message["subject"], &message["outcome"]), (&json!("large"), &json!("approved")));
    assert!(message.to_string().len() < 2000);
    let id = message["id"].as_str().unwrap();
    for subject in [Some("large"), None] {
        let confirmation = confirm(stack, id, subject).await.unwrap();
        assert!(
            confirmation.holds() && matches!(confirmation.credentials["1"], Confirmed::Again { .. }),
            "{confirmation:?}"
        );
    }
}

async fn events_are_listed_by_time_and_shown_by_verification(stack: &Stack) {
    let events = Events::of(stack).await;
    let course = events.of_subject("order").await.unwrap();
    assert_eq!(course.len(), 25);
    assert!(course.is_sorted_by_key(|event| event.received_at));
    assert!(course.iter().all(|event| event.body.is_empty()));
    let whole = events.find(&course[7].id, None).await.unwrap();
    assert!(String::from_utf8_lossy(&whole.body).ends_with("&n=7"));

    let (code, raw) = callbacks(stack, &["show", &course[7].id, "--raw"]).await;
    assert_eq!((code, raw.as_bytes()), (0, &whole.body[..]));

    let (first, last) = (course[0].received_at, course[24].received_at);
    let of_order = |event: &StoredEvent| event.subject == "order";
    let listed = async |since, until, limit| events.received(since, until, of_order, limit).await.unwrap();
    assert!(listed(first, last + SignedDuration::from_millis(1), 100).await == course);
    assert!(listed(first, last, 100).await == course[..24]);
    assert!(listed(first, last, 10).await == course[..10]);
    assert!(listed(first - SignedDuration::from_hours(50), first, 100).await.is_empty());
    let everything = events.received(first - SignedDuration::from_hours(50), last, |_| true, 1000).await.unwrap();
    assert!(everything.len() > samples().len() / 2 && everything.is_sorted_by_key(|event| event.received_at));
}

/// The short form of `bench load`.
async fn a_load_of_all_providers_reconciles(stack: &Stack) {
    let number = |number| NonZeroUsize::new(number).unwrap();
    let plan =
        Plan { callbacks: number(300), concurrency: number(4), duplicates: 30, forged: 10, huge: 2, seed: Some(1) };
    let other = verdict("somebody-else");
    let send = stack.connect().await.sqs.send_message().queue_url(&stack.verification_queue_url);
    let send = send.message_group_id("somebody-else").message_deduplication_id("somebody-else");
    send.message_body(other.to_string()).send().await.unwrap();

    let report = load::run(stack, plan).await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.all.callbacks, report.all.copies, report.all.forged), (300, 90, 30), "{report}");
    // What is not of the load is left to others.
    assert_eq!(receive(stack, 1).await, [other]);
}

async fn stored_events_are_replayed(stack: &Stack) {
    assert_eq!(callbacks(stack, &["replay"]).await.0, 1, "everything there ever was is a lot");
    let (code, lines) = callbacks(stack, &["replay", "--subject", "order", "--dry-run"]).await;
    assert_eq!((code, lines.lines().count()), (0, 25));
    assert!(receive(stack, 0).await.is_empty());

    let course = Events::of(stack).await.of_subject("order").await.unwrap();
    let ids: Vec<&str> = course.iter().map(|event| event.id.as_str()).collect();
    // SQS would drop the second of two replays if it were not another one.
    for _ in 0..2 {
        let (code, summary) = callbacks(stack, &["replay", "--subject", "order", "--json"]).await;
        let summary: Value = serde_json::from_str(&summary).unwrap();
        assert_eq!((code, &summary["sent"], &summary["go_on_with"]), (0, &json!(25), &Value::Null));
        let received = receive(stack, 25).await;
        assert_eq!(received.iter().map(|message| message["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    }
    let others = ["replay", "--since", "1h", "--subject", "order", "--outcome", "approved", "--json"];
    assert!(callbacks(stack, &others).await.1.contains(r#""sent":0"#));
    let deliveries = ["replay", "--since", "1h", "--kind", "identomat.one-time-password", "--json"];
    assert!(callbacks(stack, &deliveries).await.1.contains(r#""sent":0"#), "nobody asked for passwords");
    assert!(receive(stack, 0).await.is_empty());
}

async fn what_was_not_understood_is_reprocessed(stack: &Stack) {
    // As an older version would have stored it, which did not know the callback.
    let events = Events::of(stack).await;
    let known = events.of_subject("order").await.unwrap().remove(0);
    let body = "callBackType=NETVERIFY_AUTHENTICATION&transactionReference=reprocessed&transactionResult=PASSED";
    let unknown = StoredEvent {
        subject: "jumio.unrecognized-example".to_owned(),
        id: "0".repeat(64),
        kind: "jumio.unrecognized".to_owned(),
        outcome: Outcome::None,
        reasons: Vec::new(),
        unrecognized: Some("unknown:callBackType".to_owned()),
        details: Details::new(),
        body: body.into(),
        ..known
    };
    let put = stack.connect().await.dynamodb.put_item().table_name(&stack.events_table);
    put.set_item(Some(serde_dynamo::to_item(&unknown).unwrap())).send().await.unwrap();
    assert_eq!(receive(stack, 1).await[0]["type"], "verification.jumio.unrecognized");

    let reprocess = async |more: &[&str]| {
        let arguments = ["reprocess", "--subject", "jumio.unrecognized-example", "--json"];
        let (code, line) = callbacks(stack, &[&arguments, more].concat()).await;
        assert_eq!(code, 0);
        serde_json::from_str::<Value>(&line).unwrap()["now"].take()
    };
    let dry = reprocess(&["--dry-run"]).await;
    assert_eq!(
        (&dry["subject"], &dry["outcome"], &dry["inserted"]),
        (&json!("reprocessed"), &json!("approved"), &Value::Null)
    );
    assert!(events.of_subject("reprocessed").await.unwrap().is_empty());
    assert_eq!(reprocess(&[]).await["inserted"], "new");
    let message = receive(stack, 1).await.remove(0);
    assert_eq!(
        (&message["type"], &message["outcome"]),
        (&json!("verification.jumio.netverify-authentication"), &json!("approved"))
    );
    assert_eq!(message["assurance"], "source_address");
    assert_eq!(reprocess(&[]).await["inserted"], "there already");
    assert_eq!(events.of_subject("reprocessed").await.unwrap()[0].received_at, unknown.received_at);

    // What today's parsers do not understand either stays as it is.
    let (code, lines) = callbacks(stack, &["reprocess", "--provider", "verifyvasp", "--json"]).await;
    assert!(
        code == 0 && lines.lines().count() > 1 && lines.lines().all(|line| line.contains(r#""still":"#)),
        "{lines}"
    );
    assert!(receive(stack, 0).await.is_empty());
}

/// A verdict that somebody else put into a queue.
fn verdict(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/callbacks/jumio", "type": "verification.jumio.netverify-authentication",
        "subject": "dead", "time": "2026-01-31T00:00:00.000Z", "datacontenttype": "application/json",
        "sequence": "0001769817600000", "outcome": "approved", "assurance": "source_address",
        "data": {
            "provider": "jumio", "track": "netverify-authentication", "reasons": [], "received_at": "2026-01-31T00:00:00.000Z",
            "details": { "transaction_result": "PASSED" },
        },
    })
}

async fn dead_letters_are_redriven(stack: &Stack) {
    let sqs = stack.connect().await.sqs;
    for id in ["first", "second", "third"] {
        let send = sqs.send_message().queue_url(&stack.verification_dead_letters_url).message_group_id("dead");
        send.message_deduplication_id(id).message_body(verdict(id).to_string()).send().await.unwrap();
    }
    let (code, looked) = callbacks(stack, &["redrive"]).await;
    assert!(code == 0 && looked.contains("verdicts: about 3") && looked.contains("approved"), "{looked}");
    assert!(receive(stack, 0).await.is_empty(), "to look is not to send");
    let (code, redriven) = callbacks(stack, &["redrive", "verdicts"]).await;
    assert!(code == 0 && redriven.contains("verdicts: 3 sent, 0 stay"), "{redriven}");
    let received = receive(stack, 3).await;
    assert_eq!(received.iter().map(|message| &message["id"]).collect::<Vec<_>>(), ["first", "second", "third"]);
    assert!(callbacks(stack, &["redrive", "verdicts"]).await.1.contains("verdicts: 0 sent, 0 stay"));

    for (id, expires) in [("late", "2026-01-31T01:00:00Z"), ("in-time", "2999-01-31T01:00:00Z")] {
        let mut delivery = verdict(id);
        delivery["expirytime"] = json!(expires);
        let send = sqs.send_message().queue_url(&stack.delivery_dead_letters_url);
        send.message_body(delivery.to_string()).send().await.unwrap();
    }
    let (code, redriven) = callbacks(stack, &["redrive", "deliveries"]).await;
    assert!(
        code == 1 && redriven.contains("stays: it has expired") && redriven.contains("1 sent, 1 stay"),
        "{redriven}"
    );
}

async fn whatever_the_contract_allows_is_answered_as_it_says(stack: &Stack, http: &Client) {
    // Those that tests/schemathesis/ puts into the wallet's callbacks.
    for (purpose, code, template_ids) in [
        (Purpose::Verification, "a-code-of-the-contract-for-a-verification", vec![]),
        (Purpose::Issuance, "a-code-of-the-contract-for-an-issuance", vec!["1".to_owned()]),
    ] {
        let announcement = Announcement { purpose, code: code.to_owned(), state: None, template_ids, due_at: None };
        assert_eq!(announce(http, stack, &stack.connect().await, &announcement).await.unwrap().0, 201);
    }
    schemathesis(stack).await;
    let received = receive(stack, 1).await;
    let providers: BTreeSet<&str> =
        received.iter().map(|message| message["data"]["provider"].as_str().unwrap()).collect();
    assert_eq!(providers, providers::names().into_iter().collect(), "all were authentic");
}

/// Searches everything that the functions wrote while they did all of the above.
async fn nothing_secret_or_personal_is_in_the_logs(stack: &Stack, http: &Client) {
    let logs = logs(stack, http).await;
    // They are the functions' logs, of every function and outcome.
    for written in ["callback stored", "callback refused", "callback not recognized, but stored", "published"] {
        assert!(logs.contains(written), "nothing says {written:?} in {} bytes of logs", logs.len());
    }
    let secrets = stack.secrets.values().map(String::as_str);
    let deliveries = [
        "Your code is",
        "+00000000",
        "example.com/session",
        "customer@example.com",
        "example-code",
        "a-code-of-the-tests",
        "code-of-load",
    ];
    let personal =
        ["FIRSTNAME", "LASTNAME", "P1234", "1990-01-01", "Taylor", "0xb0bFf9721871e22653358956cf59a5FdBF3D752F"];
    let samples = samples();
    let subjects = samples.iter().filter_map(|sample| sample.expect.event.as_ref()).map(|event| event.subject.as_str());
    for unwanted in secrets.chain(deliveries).chain(personal).chain(subjects) {
        assert!(!logs.contains(unwanted), "{unwanted:?} is in the logs");
    }
}

/// All that is in CloudWatch Logs. The emulator asks for no signature.
async fn logs(stack: &Stack, http: &Client) -> String {
    let call = async |operation: &str, body: Value| -> Value {
        let request = http.post(stack.endpoint_url.as_deref().unwrap());
        let request = request.header("x-amz-target", format!("Logs_20140328.{operation}"));
        let authorization = format!("AWS4-HMAC-SHA256 Credential=test/20260131/{}/logs/aws4_request", stack.region);
        let request = request.header("authorization", authorization);
        let request = request.header("content-type", "application/x-amz-json-1.1").body(body.to_string());
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
    };
    let mut logs = String::new();
    for group in call("DescribeLogGroups", json!({})).await["logGroups"].as_array().unwrap() {
        let mut page = json!({ "logGroupName": group["logGroupName"] });
        loop {
            let events = call("FilterLogEvents", page.clone()).await;
            for event in events["events"].as_array().unwrap() {
                logs.push_str(event["message"].as_str().unwrap());
                logs.push('\n');
            }
            match &events["nextToken"] {
                Value::String(token) => page["nextToken"] = json!(token),
                _ => break,
            }
        }
    }
    logs
}

async fn post(stack: &Stack, http: &Client, body: Vec<u8>) -> (u16, String) {
    let request = http.post(stack.url("verifyvasp").unwrap()).bearer_auth(&stack.secrets["verifyvasp"]);
    let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Takes so many messages from the queue, and all that comes with them. Each has to keep the contract.
async fn receive(stack: &Stack, expected: usize) -> Vec<Value> {
    receive_within(stack, expected, 60).await
}

/// The same, with so many looks.
async fn receive_within(stack: &Stack, expected: usize, looks: usize) -> Vec<Value> {
    let sqs = stack.connect().await.sqs;
    let mut messages = Vec::new();
    // Each look waits for a second; the last one makes sure that there is nothing else.
    for _ in 0..looks {
        let looked = sqs.receive_message().queue_url(&stack.verification_queue_url).max_number_of_messages(10);
        let looked = looked.message_attribute_names("All").wait_time_seconds(1);
        let received = looked.send().await.unwrap().messages.unwrap_or_default();
        if received.is_empty() && messages.len() >= expected {
            break;
        }
        for message in received {
            messages.push(serde_json::from_str(message.body().unwrap()).unwrap());
            let sent = messages.last().unwrap();
            check_message(sent);
            // What this test puts into a queue itself has none.
            if let Some(attributes) = message.message_attributes() {
                let texts = attributes.iter().map(|(name, value)| (name.as_str(), value.string_value().unwrap()));
                check_attributes(&texts.collect(), sent);
            }
            let delete = sqs.delete_message().queue_url(&stack.verification_queue_url);
            delete.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
        }
    }
    assert!(messages.len() >= expected, "{} of {expected} messages", messages.len());
    messages
}

#[test]
fn a_sample_that_is_none_is_an_error_that_names_it() {
    let error = Sample::read(std::path::Path::new("nowhere/none.json")).unwrap_err();
    assert!(error.to_string().contains("nowhere/none.json"));
}

/// A verdict that never came is fetched from its provider, or reported where nobody can be asked. The schedule runs by
/// itself, each minute.
#[tokio::test]
async fn a_verdict_that_never_came_is_fetched_or_reported() {
    let folder = Folder::named("verdicts").unwrap();
    let local = LocalStack::start(folder, Some(free_port()), Lifetime::Attached).await.unwrap();
    let stack = &local.stack;
    let [session, doubtful, process, enclave, nowhere] =
        ["aa", "ab", "ac", "ad", "ae"].map(|end| format!("00000000-0000-4000-8000-0000000000{end}"));
    let control = Control::new(stack.providers_url.as_ref().unwrap());
    for (provider, subject) in [
        (Played::Identomat, &session),
        (Played::Identomat, &doubtful),
        (Played::Signicat, &process),
        (Played::VerifyVasp, &enclave),
    ] {
        let (subject, scenario) = (subject.clone(), Scenario::Approved);
        control.set(&Setting { provider, subject, scenario, pending: 0, dossier: None }).await.unwrap();
    }
    let send = async |sample: &str, subject: &str| {
        let sample = cli::project_root().unwrap().join("events/identomat").join(sample);
        let (code, sent) = callbacks(stack, &["send", sample.to_str().unwrap(), "--subject", subject]).await;
        assert_eq!(code, 0, "{sent}");
    };
    let expect = async |arguments: &[&str]| {
        let (code, answer) = callbacks(stack, &[&["expect"], arguments].concat()).await;
        assert_eq!(code, 0, "{answer}");
    };
    expect(&["identomat", "--subject", &session, "--due-in", "1s"]).await;
    expect(&["signicat", "--subject", &process, "--due-in", "1s", "--dossier", "dossier-1"]).await;
    expect(&["verifyvasp", "--subject", &enclave, "--due-in", "1s"]).await;
    // Nobody can ask a wallet gateway.
    let code = ["--code", "code-of-a-verdict", "--due-at", "2026-01-31T00:00:00Z"];
    expect(&[&["wallet", "--purpose", "verification", "--state", &nowhere], &code[..]].concat()).await;

    // Rejected, something else, and rejected again: a new decision, or a late copy? Only the provider knows.
    for sample in ["session-course-1-rejected.json", "unknown-result.json", "session-course-1-rejected.json"] {
        send(sample, &doubtful).await;
    }

    // Within two minutes.
    let messages = receive_within(stack, 8, 120).await;
    let of_doubtful = messages.iter().filter(|message| message["subject"] == *doubtful);
    let of_doubtful: Vec<_> =
        of_doubtful.map(|message| (&message["outcome"], &message["data"]["repeated"], &message["assurance"])).collect();
    let secret = json!("shared_secret");
    let expected = [
        (&json!("rejected"), &json!(null), &secret),
        (&json!("none"), &json!(null), &secret),
        (&json!("rejected"), &json!(true), &secret),
        (&json!("approved"), &json!(null), &json!("fetched")),
    ];
    assert_eq!(of_doubtful, expected);
    let message = |subject: &str| {
        let about: Vec<&Value> = messages.iter().filter(|message| message["subject"] == subject).collect();
        assert_eq!(about.len(), 1, "{messages:?}");
        about[0]
    };
    for (subject, kind) in [
        (&session, "identomat.session-change"),
        (&process, "signicat.process-status"),
        (&enclave, "verifyvasp.verification-result"),
    ] {
        let fetched = message(subject);
        assert_eq!(fetched["type"], format!("verification.{kind}"));
        assert_eq!((&fetched["outcome"], &fetched["assurance"]), (&json!("approved"), &json!("fetched")));
    }
    let overdue = message(&nowhere);
    assert_eq!(overdue["type"], "verification.wallet.overdue");
    assert_eq!((&overdue["outcome"], &overdue["assurance"]), (&json!("none"), &json!("internal")));
    assert_eq!(overdue["data"]["received_at"], "2026-01-31T00:00:00.000Z");

    // The callback comes after all, and is no news.
    send("session-change-approved.json", &session).await;
    assert_eq!(receive(stack, 0).await, Vec::<Value>::new());
    let connections = stack.connect().await;
    let answer = fetch(&Client::new(), stack, &connections, "identomat", &session).await.unwrap().unwrap();
    let stands = &answer["verifications"][0];
    assert_eq!((&stands["outcome"], &stands["callbacks"]), (&json!("approved"), &json!(1)));
    assert_eq!(answer["events"].as_array().unwrap().len(), 1);
}
