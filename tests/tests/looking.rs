//! The commands that look: they change nothing, show nothing that a terminal obeys, pass over what they cannot read, and
//! forget no record whose events they did not find.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::{
    MessageSystemAttributeName,
    QueueAttributeName::{ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible},
};
use cli::{
    local::{Folder, Lifetime, LocalStack},
    stack::{Connections, Stack},
};
use futures_util::{StreamExt as _, stream};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Client;
use serde_json::{Value, json};
use tests::{
    FUNCTIONS, callbacks, callbacks_and_errors, callbacks_command, commands::blocks, contract::MESSAGE_KINDS, free_port,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{ChildStdout, Command},
    time::{sleep, timeout},
};

/// One stack for everything: the parts of this test follow each other on it, and each begins with empty queues.
#[tokio::test]
async fn looking_changes_nothing_and_forgets_nothing() {
    let folder = Folder::named("looking").unwrap();
    let local = LocalStack::start(folder, Some(free_port()), Lifetime::Attached).await.unwrap();
    let site = Site { connections: local.stack.connect().await, http: Client::new(), stack: local.stack.clone() };
    // It goes on while all else is done.
    let since = format!("{:.3}", runtime::now());
    let mut looking = callbacks_command(&site.stack, &["tail", "--since", &since, "--json"]);
    let mut looking = looking.stdout(Stdio::piped()).spawn().unwrap();
    let shown = BufReader::new(looking.stdout.take().unwrap()).lines();

    what_is_published_is_shown_and_not_received(&site).await;
    what_is_published_meanwhile_is_shown_once(&site).await;
    what_was_received_is_given_back_once(&site).await;
    what_was_received_is_given_back_after_ctrl_c(&site).await;
    dead_letters_that_were_looked_at_are_there_at_once(&site).await;
    what_others_wrote_is_not_obeyed(&site).await;
    what_came_late_is_shown_once_with_all_else(&site, shown, &since).await;
    looking.kill().await.unwrap();
    a_record_stays_until_its_events_are_found(&site).await;
    what_cannot_be_read_is_passed_over(&site).await;
    what_came_of_each_callback_is_in_the_logs(&site).await;
    why_callbacks_are_refused_is_said(&site).await;
    what_came_of_a_sample_is_said(&site).await;
    one_dead_letter_can_be_taken(&site).await;
    the_doctor_adds_no_refusal_unless_told(&site).await;
    what_is_unknown_is_answered_with_what_is_known(&site).await;
    an_error_names_the_cause_and_the_way_out(&site).await;
    operators_need_no_clone_of_the_project(&site).await;
    each_call_is_in_the_access_log(&site).await;
    every_kind_is_triggered_with_every_outcome(&site).await;
    a_release_is_installed_as_documented().await;
}

/// What the local stack is called in CloudFormation.
const NAME: &str = "verification-callbacks";

struct Site {
    stack: Stack,
    connections: Connections,
    http: Client,
}

async fn what_came_of_each_callback_is_in_the_logs(site: &Site) {
    let since = runtime::now().to_string();
    let mut command = callbacks_command(&site.stack, &["logs", "--follow", "--json"]);
    let mut following = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(following.stdout.take().unwrap()).lines();
    // It shows what comes from now on.
    sleep(Duration::from_secs(1)).await;

    site.report("logged-subject", "DENIED", "LACK-OF-INFORMATION").await;
    site.report("logged-subject", "DENIED", "LACK-OF-INFORMATION").await;
    site.report("logged-subject", "", "LACK-OF-INFORMATION").await;
    assert_eq!(site.report_with("another-secret", "logged-subject").await, 401);
    site.process("logged-process", "accepted").await;
    site.process("logged-process", "pending").await;
    let mut came = BTreeSet::new();
    while came.len() < 6 {
        let line = timeout(Duration::from_secs(30), shown.next_line()).await.expect("it is shown").unwrap().unwrap();
        let callback: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| callback[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(text("id").len(), if text("what") == "refused" { 0 } else { 64 }, "{line}");
        assert!(came.insert([text("what"), text("provider"), text("kind"), text("reason")]), "once: {line}");
    }
    following.kill().await.unwrap();
    let result = "verifyvasp.verification-result";
    let expected = [
        ["stored", "verifyvasp", result, ""],
        ["repeat", "verifyvasp", result, ""],
        ["unrecognized", "verifyvasp", "verifyvasp.unrecognized", "missing_field:result"],
        ["refused", "verifyvasp", "", "wrong"],
        ["stored", "signicat", "signicat.process-status", ""],
        ["late", "signicat", "signicat.process-status", ""],
    ];
    assert_eq!(came, expected.map(|words| words.map(str::to_owned)).into());

    let (code, lines) = site.callbacks(&["logs", "--since", &since]).await;
    assert_eq!((code, lines.lines().count()), (0, 6), "{lines}");
    let what: Vec<&str> = lines.lines().map(|line| line.split("  ").nth(1).unwrap()).collect();
    assert_eq!(what, ["stored", "repeat", "unrecognized", "refused", "stored", "late"], "in their order");
    assert!(!lines.contains("logged-") && !lines.contains("secret"), "{lines}");
    // The shortened id leads to the event, and to its repeat.
    let short = lines.lines().next().unwrap().split_whitespace().last().unwrap();
    let (code, events) = site.callbacks(&["show", short]).await;
    assert!(code == 0 && short.len() == 12 && events.matches("  logged-subject  ").count() == 2, "{events}");
    let (code, _, errors) = callbacks_and_errors(&site.stack, &["show", "0123456789ab"]).await;
    assert!(code == 1 && errors.contains("no event whose id begins with 0123456789ab"), "{errors}");
    let (code, refused) = site.callbacks(&["logs", "--refused", "--provider", "verifyvasp"]).await;
    assert!(code == 0 && refused.trim_end().ends_with("Z  refused       verifyvasp  wrong"), "{refused}");
    let (code, others, errors) = callbacks_and_errors(&site.stack, &["logs", "--provider", "jumio"]).await;
    assert!(code == 1 && others.is_empty() && errors.contains("have none since"), "{others} {errors}");
    site.take(&site.stack.verification_queue_url, 4).await;
}

async fn why_callbacks_are_refused_is_said(site: &Site) {
    let why = async || {
        let (code, report) = site.callbacks(&["why", "refused", "verifyvasp", "--json"]).await;
        (code, serde_json::from_str::<Value>(&report).unwrap())
    };
    // A stranger called, and the provider goes on.
    site.report("why", "DENIED", "OK").await;
    let (code, report) = why().await;
    assert_eq!((code, &report["verdict"]), (0, &json!("stranger")), "{report}");
    let by = (&report["by_reason"], &report["by_address"]);
    assert_eq!(by, (&json!({ "wrong": 1 }), &json!({ "127.0.0.1": 1 })), "{report}");
    let (_, text) = site.callbacks(&["why", "refused", "verifyvasp"]).await;
    assert!(
        text.contains("\nBy reason        wrong 1\n") && text.contains("\nVerdict          a stranger  "),
        "{text}"
    );
    let (code, nothing) = site.callbacks(&["why", "refused", "signicat"]).await;
    assert!(code == 0 && nothing.contains("nothing was refused"), "{nothing}");
    assert_eq!(site.callbacks(&["why", "refused", "nobody"]).await.0, 2);

    // Its secret is changed here alone, and the function starts anew with it. Secrets are dated to the second.
    sleep(Duration::from_millis(1100)).await;
    let id = &site.stack.secret_ids["verifyvasp"];
    let put = site.connections.secrets_manager.put_secret_value().secret_id(id);
    put.secret_string(json!({ "current": "another-secret" }).to_string()).send().await.unwrap();
    site.restart("verifyvasp", "1").await;
    assert_eq!(site.report_with(&site.stack.secrets["verifyvasp"], "why").await, 401);
    let (code, report) = why().await;
    assert_eq!((code, &report["verdict"]), (1, &json!("locked_out")), "{report}");
    assert!(report["because"].as_str().unwrap().contains("since the secret changed"), "{report}");
    assert!(!report.to_string().contains("another-secret"), "{report}");

    // What it says to do lets the provider in again.
    let command = report["next"]["command"].as_str().unwrap();
    let argument = |name: &str| command.split(&format!("--{name} ")).nth(1).unwrap().split(' ').next().unwrap();
    let update = site.connections.secrets_manager.update_secret_version_stage().secret_id(argument("secret-id"));
    let update = update.version_stage(argument("version-stage")).move_to_version_id(argument("move-to-version-id"));
    update.remove_from_version_id(argument("remove-from-version-id")).send().await.unwrap();
    site.restart("verifyvasp", "2").await;
    site.report("why", "VERIFIED", "OK").await;
    site.take(&site.stack.verification_queue_url, 2).await;
}

async fn what_came_of_a_sample_is_said(site: &Site) {
    let file = cli::project_root().unwrap().join("events/verifyvasp/verification-result-denied.json");
    let send = async |more: &[&str]| {
        let (code, line) = site.callbacks(&[&["send", file.to_str().unwrap(), "--json"][..], more].concat()).await;
        let line: Value = serde_json::from_str(line.trim()).unwrap();
        (code, line["answer"]["status"].clone(), line["came_to"].clone())
    };
    for (more, status, came_to) in [
        (&[][..], 200, json!("published")),
        (&[], 200, json!("repeat")),
        (&["--fresh"], 200, json!("published")),
        (&["--fresh"], 200, json!("published")),
        (&["--subject", "named"], 200, json!("published")),
        (&["--subject", "named"], 200, json!("repeat")),
        (&["--subject", "named", "--set", "/data/result=VERIFIED"], 200, json!("published")),
        (&["--set", "/data/verificationUuid=named"], 200, json!(null)),
    ] {
        assert_eq!(send(more).await, (0, json!(status), came_to), "{more:?}");
    }
    let (_, text) = site.callbacks(&["send", file.to_str().unwrap()]).await;
    assert!(text.contains("  200 {\"result\":true}  repeat: nothing is published"), "{text}");
    let sent = site.take(&site.stack.verification_queue_url, 6).await;
    assert_eq!(sent.iter().filter(|(message, _)| message["subject"] == "named").count(), 3, "{sent:?}");
}

async fn every_kind_is_triggered_with_every_outcome(site: &Site) {
    let lines = |text: &str| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let (code, listed) = site.callbacks(&["trigger", "--list", "--json"]).await;
    assert_eq!(code, 0);
    let mut triggered = Vec::new();
    for line in lines(&listed) {
        let kind = line["kind"].as_str().unwrap().to_owned();
        triggered.extend(line["outcomes"].as_array().unwrap().iter().map(|outcome| (kind.clone(), outcome.clone())));
    }
    // All that a callback can be: outcomes that only a fetched answer has are not triggered.
    let fetched = crate::providers::fetched_outcomes();
    for (kind, declared) in MESSAGE_KINDS.iter().filter(|(kind, _)| !kind.ends_with(".overdue")) {
        for outcome in declared.outcomes.iter().filter(|_| !kind.ends_with(".unrecognized")) {
            let is_listed = triggered.contains(&(kind.clone(), json!(outcome)));
            assert!(is_listed || fetched.contains(&(kind.clone(), (*outcome).to_owned())), "{kind} {outcome}");
        }
    }
    let triggering = triggered.iter().enumerate().map(async |(n, (kind, outcome))| {
        let (outcome, subject) = (outcome.as_str().unwrap(), format!("triggered-{n}"));
        let words = ["trigger", kind, "--outcome", outcome, "--subject", &subject, "--json"];
        let (code, line) = site.callbacks(&words).await;
        let line: Value = serde_json::from_str(line.trim()).unwrap();
        let said = (code, &line["outcome"], &line["subject"], &line["came_to"]);
        assert_eq!(said, (0, &json!(outcome), &json!(subject), &json!("published")), "{kind}: {line}");
    });
    stream::iter(triggering).buffer_unordered(4).collect::<Vec<()>>().await;

    let course = ["--course", "approved,rejected,approved", "--subject", "changes-its-mind", "--json"];
    let (code, said) = site.callbacks(&[&["trigger", "identomat.session-change"][..], &course].concat()).await;
    let outcomes: Vec<Value> = lines(&said).into_iter().map(|mut line| line["outcome"].take()).collect();
    assert_eq!((code, outcomes), (0, vec![json!("approved"), json!("rejected"), json!("approved")]));
    let (code, said) = site.callbacks(&["show", "changes-its-mind", "--json"]).await;
    assert!(code == 0 && said.contains("approved"), "{said}");

    let words = ["trigger", "signicat.process-status", "--outcome", "action_required"];
    let failed = callbacks_and_errors(&site.stack, &words).await;
    assert!(failed.2.contains("it can be approved, rejected, review, pending, failed"), "{failed:?}");
}

async fn one_dead_letter_can_be_taken(site: &Site) {
    let (queue, dead) = (&site.stack.verification_queue_url, &site.stack.verification_dead_letters_url);
    for subject in ["dead-1", "dead-2"] {
        site.report(subject, "DENIED", "OK").await;
    }
    let sent = site.take(queue, 2).await;
    let began = runtime::now();
    for (message, _) in &sent {
        site.send(dead, &message.to_string()).await;
    }
    let id = sent[1].0["id"].as_str().unwrap();
    let (code, looked) = site.callbacks(&["redrive", "--message", id, "--json"]).await;
    let looked: Value = serde_json::from_str(looked.trim()).expect("one line");
    assert_eq!((code, &looked["event"], &looked["received"]), (0, &json!(id), &json!(1)), "{looked}");
    let died_at: jiff::Timestamp = looked["died_at"].as_str().unwrap().parse().unwrap();
    assert!(began <= died_at && died_at <= runtime::now(), "{looked}");
    let (_, text) = site.callbacks(&["redrive", "verdicts", "--dry-run"]).await;
    assert_eq!(text.matches("  received 2 times  died 2").count(), 2, "{text}");
    assert!(text.contains(&format!("Z  event {id}\n")), "{text}");

    let (code, _, errors) = callbacks_and_errors(&site.stack, &["redrive", "verdicts", "--message", "nobody"]).await;
    assert!(code == 1 && errors.contains("there is no message nobody in verdicts"), "{errors}");
    let (code, taken) = site.callbacks(&["redrive", "verdicts", "--message", id]).await;
    assert!(code == 0 && taken.contains("verdicts: 1 sent, 0 stay"), "{taken}");
    assert_eq!(site.take(queue, 1).await[0].0["id"], id);
    assert_eq!(site.take(dead, 1).await[0].0["id"], sent[0].0["id"]);
}

async fn the_doctor_adds_no_refusal_unless_told(site: &Site) {
    let refused = async || site.callbacks(&["logs", "--refused"]).await.1.lines().count();
    let before = refused().await;
    let (_, checked) = site.callbacks(&["doctor"]).await;
    assert!(checked.contains("route of verifications") && checked.contains("clock"), "{checked}");
    assert!(!checked.contains("route of verifyvasp"), "{checked}");
    assert_eq!(refused().await, before);
    let (_, checked) = site.callbacks(&["doctor", "--routes"]).await;
    assert!(checked.contains("route of verifyvasp"), "{checked}");
    assert_eq!(refused().await, before + FUNCTIONS.len(), "one a function");
}

async fn what_is_unknown_is_answered_with_what_is_known(site: &Site) {
    for (arguments, known) in [
        (&["list", "--outcome", "granted"][..], "an outcome is approved, rejected, review"),
        (&["list", "--provider", "wallets"], &format!("the providers are {}", providers::names().join(", "))),
        (&["list", "--kind", "jumio.netverify"], "the kinds of jumio are jumio.announced, jumio.document-verification"),
        (&["logs", "--provider", "signicat-assure"], "the providers are identomat"),
        (&["examples", "wallet"], "wallet-issuance, wallet-verification"),
    ] {
        let (code, printed, errors) = callbacks_and_errors(&site.stack, arguments).await;
        assert!(code > 0 && printed.is_empty() && errors.contains(known), "{arguments:?}: {errors}");
    }
    // The addresses do not depend on the API's id, and a wrong one is answered with the right ones.
    let url = site.stack.endpoint_url.as_ref().unwrap();
    assert_eq!(site.stack.url("verifyvasp").unwrap(), format!("{url}/callbacks/verifyvasp"));
    let (code, examples) = site.callbacks(&["examples", "verifyvasp", "expectations"]).await;
    assert!(code == 0 && examples.starts_with("# verifyvasp\ncurl -i -X POST "), "{examples}");
    assert!(examples.contains(&format!("\n\n# expectations\ncurl -i -X PUT {url}/expectations/wallet ")), "{examples}");
    for (method, path) in [("POST", "/callbacks/verifyvas"), ("GET", "/callbacks/verifyvasp"), ("POST", "/callbacks")] {
        let request = site.http.request(method.parse().unwrap(), format!("{url}{path}"));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 404);
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(body["message"], format!("there is no route {method} {path}"));
        assert!(body["routes"].as_array().unwrap().contains(&json!("POST /callbacks/verifyvasp")), "{body}");
    }
}

/// Runs `callbacks` in this folder with nothing but these variables, and returns its exit code and what it prints.
async fn callbacks_in(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(cli::project_root().unwrap().join("target/debug/callbacks"));
    command.args(arguments).env_clear().env("HOME", folder).envs(variables.iter().copied()).current_dir(folder);
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A folder that is not in the project, and has nothing in it.
fn empty_folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("callbacks-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

async fn an_error_names_the_cause_and_the_way_out(site: &Site) {
    let folder = empty_folder("errors");
    std::fs::create_dir(folder.join(".aws")).unwrap();
    let profile = "[profile sso]\nsso_session = a\nsso_account_id = 000000000000\nsso_role_name = a\n\
                   [sso-session a]\nsso_region = eu-central-1\nsso_start_url = https://example.com\n";
    std::fs::write(folder.join(".aws/config"), profile).unwrap();
    let region = ("AWS_REGION", "eu-central-1");
    let keys = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
    let emulator = ("AWS_ENDPOINT_URL", site.stack.endpoint_url.as_deref().unwrap());
    for (variables, cause, way_out) in [
        (vec![], "error: no AWS region", "set AWS_REGION"),
        (vec![region], "error: no AWS credentials", "set AWS_PROFILE"),
        (
            vec![region, ("AWS_PROFILE", "sso")],
            "error: failed to load AWS credentials",
            "aws configure export-credentials",
        ),
        (vec![region, keys[0], keys[1], ("AWS_ENDPOINT_URL", "http://127.0.0.1:9")], "does not answer", "a network"),
        (vec![region, keys[0], keys[1], emulator], "there is no such stack", "AWS_PROFILE and AWS_REGION"),
    ] {
        let (code, printed, errors) = callbacks_in(&folder, &variables, &["list", "--stack", "nobody"]).await;
        assert_eq!((code, printed.as_str()), (1, ""), "{variables:?}");
        assert!(errors.contains(cause) && errors.contains(way_out), "{variables:?}: {errors}");
        assert!(!errors.contains("IMDS") && errors.lines().count() == 1, "{variables:?}: {errors}");
    }
    std::fs::remove_dir_all(&folder).unwrap();

    // What cargo says in the folder of a package is in docs/local.md, with the way out.
    let package = cli::project_root().unwrap().join("functions/jumio");
    let cargo = Command::new("cargo").args(["callbacks", "list"]).current_dir(&package).output().await.unwrap();
    let said = "no bin target named `callbacks`";
    assert!(!cargo.status.success() && String::from_utf8_lossy(&cargo.stderr).contains(said), "{cargo:?}");
    let page = std::fs::read_to_string(cli::project_root().unwrap().join("docs/local.md")).unwrap();
    assert!(page.contains(said));
}

async fn operators_need_no_clone_of_the_project(site: &Site) {
    let folder = empty_folder("operator");
    let stack = [
        ("AWS_REGION", site.stack.region.as_str()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_ENDPOINT_URL", site.stack.endpoint_url.as_deref().unwrap()),
    ];
    site.report("operator", "DENIED", "OK").await;
    let sent = site.take(&site.stack.verification_queue_url, 1).await;
    let id = sent[0].0["id"].as_str().unwrap();
    let (code, help, _) = callbacks_in(&folder, &[], &["--help"]).await;
    assert!(code == 0 && help.contains("redrive"), "{help}");
    for (arguments, shown) in [
        (&["doctor"][..], "route of verifications"),
        (&["logs", "--since", "1h"], "verification-result"),
        (&["why", "refused", "verifyvasp"], "By address"),
        (&["list", "--subject", "operator"], "operator"),
        (&["show", "operator"], id),
        (&["tail", "--since", "1h", "--quiet", "1"], "operator"),
        (&["replay", "--subject", "operator", "--dry-run"], "operator"),
        (&["reprocess", "--subject", "operator", "--dry-run"], "0 "),
        (&["rebuild", "--subject", "operator"], "1 "),
        (&["redrive", "verdicts", "--dry-run"], "verdicts: about 0"),
    ] {
        let (code, printed, errors) = callbacks_in(&folder, &stack, &[arguments, &["--stack", NAME]].concat()).await;
        let is_shown = format!("{printed}{errors}").contains(shown);
        assert!(code == 0 && is_shown, "{arguments:?}: {code} {printed} {errors}");
    }
    // A local stack is made of the sources; nothing else is.
    for (arguments, way_out) in [
        (&["local"][..], "run this in a clone of the project"),
        (&["demo"], "run this in a clone of the project"),
        (&["list"], "name a deployed one with --stack NAME"),
    ] {
        let (code, printed, errors) = callbacks_in(&folder, &[], arguments).await;
        assert!(code == 1 && printed.is_empty() && errors.contains(way_out), "{arguments:?}: {errors}");
    }
    // Nothing was left there.
    std::fs::remove_dir(&folder).unwrap();
}

/// By the commands of docs/deploying.md, from a folder in place of GitHub, in which what the release workflow packs is.
async fn a_release_is_installed_as_documented() {
    let root = cli::project_root().unwrap();
    let block = blocks().into_iter().find(|block| block.commands.starts_with("VERSION=")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert!(block.commands.starts_with(&format!("VERSION={version} ")), "{}", block.commands);
    let workflow = std::fs::read_to_string(root.join(".github/workflows/release.yaml")).unwrap();
    let platforms: Vec<&str> = workflow.split("platform: ").skip(1).filter_map(|rest| rest.split(',').next()).collect();
    assert_eq!(platforms.len(), 4);
    assert!(platforms.iter().all(|platform| block.commands.contains(platform)), "{platforms:?}");
    assert!(workflow.contains(".ci/package "));

    let folder = empty_folder("release");
    let releases = folder.join(format!("releases/download/v{version}"));
    let mut package = Command::new(root.join(".ci/package"));
    package.arg(root.join("target/debug/callbacks")).arg("x86_64-unknown-linux-gnu").arg(&releases);
    assert!(package.status().await.unwrap().success());
    let install = async || {
        let mut shell = Command::new("bash");
        shell.args(["-euc", &block.commands]).current_dir(&folder).env("HOME", &folder);
        shell.env("REPOSITORY", format!("file://{}", folder.display())).output().await.unwrap()
    };
    let installed = install().await;
    let printed = String::from_utf8(installed.stdout).unwrap();
    assert!(installed.status.success() && printed.ends_with(&format!("callbacks {version}\n")), "{printed}");
    // What is not what was packed is not installed.
    let archive = releases.join(format!("callbacks-{version}-x86_64-unknown-linux-gnu.tar.gz"));
    std::fs::write(&archive, "another").unwrap();
    std::fs::remove_file(folder.join(".local/bin/callbacks")).unwrap();
    assert!(!install().await.status.success() && !folder.join(".local/bin/callbacks").exists());
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The emulator writes none, so what runs it does, in the form that the template says.
async fn each_call_is_in_the_access_log(site: &Site) {
    let since = runtime::now();
    site.report("accessed", "DENIED", "OK").await;
    assert_eq!(site.report_with("another-secret", "accessed").await, 401);
    let url = site.stack.endpoint_url.as_ref().unwrap();
    assert_eq!(site.http.get(format!("{url}/verifications/jumio/accessed")).send().await.unwrap().status(), 403);
    assert_eq!(site.http.post(format!("{url}/callbacks/nobody")).send().await.unwrap().status(), 404);
    let read = site.connections.logs.filter_log_events().log_group_name(&site.stack.log_groups["access"]);
    let read = read.start_time(since.as_millisecond()).send().await.unwrap();
    let lines: Vec<Value> =
        read.events().iter().map(|event| serde_json::from_str(event.message().unwrap()).unwrap()).collect();
    let of = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let calls: Vec<_> = lines.iter().map(|line| (of(line, "routeKey"), of(line, "status"))).collect();
    let expected = [
        ("POST /callbacks/verifyvasp", "200"),
        ("POST /callbacks/verifyvasp", "401"),
        ("GET /verifications/{provider}/{subject+}", "403"),
        ("-", "404"),
    ];
    assert_eq!(calls, expected.map(|(route, status)| (route.to_owned(), status.to_owned())));
    assert!(lines.iter().all(|line| line["sourceIp"] == "127.0.0.1"), "{lines:?}");
    assert!(!format!("{lines:?}").contains("accessed"), "{lines:?}");
    site.take(&site.stack.verification_queue_url, 1).await;
}

async fn what_is_published_is_shown_and_not_received(site: &Site) {
    site.report("shown", "DENIED", "LACK-OF-INFORMATION").await;
    site.report("shown", "DENIED", "LACK-OF-INFORMATION").await;
    site.report("shown", "VERIFIED", "OK").await;
    site.deliver("shown-session", "Your code is 424242").await;
    site.wait_for(&site.stack.verification_queue_url, 2).await;
    site.wait_for(&site.stack.delivery_queue_url, 1).await;

    let (code, lines) = site.callbacks(&["tail", "--since", "1h", "--quiet", "1"]).await;
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!((code, lines.len()), (0, 3), "{lines:?}");
    let rejected = "  rejected         verification.verifyvasp.verification-result  shown  LACK-OF-INFORMATION";
    assert!(lines[0].ends_with(rejected), "{lines:?}");
    let approved = "  approved         verification.verifyvasp.verification-result  shown  OK  [conflict]";
    assert!(lines[1].ends_with(approved), "{lines:?}");
    assert!(
        lines[2].ends_with("  deliver          verification.identomat.one-time-password  shown-session"),
        "{lines:?}"
    );
    // It begins a minute ago, and this was within it.
    assert_eq!(site.callbacks(&["tail", "--quiet", "1"]).await.1.lines().count(), 3);
    let (_, json) = site.callbacks(&["tail", "--since", "1h", "--quiet", "1", "--json"]).await;
    let shown: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!json.contains("424242") && !json.contains("+00000000"), "{json}");
    assert!(site.callbacks(&["tail", "--since", "2030-01-31T12:00:00Z", "--quiet", "1"]).await.1.is_empty());

    // The messages word for word, which nobody has received before.
    let mut sent = site.take(&site.stack.verification_queue_url, 2).await;
    sent.extend(site.take(&site.stack.delivery_queue_url, 1).await);
    assert!(sent.iter().all(|(_, received)| *received == 1), "{sent:?}");
    let mut sent: Vec<Value> = sent.into_iter().map(|(message, _)| message).collect();
    assert_eq!(sent[2]["data"]["details"]["text"], "Your code is 424242");
    sent[2]["data"]["details"] = json!({});
    assert_eq!(shown, sent);
}

async fn what_is_published_meanwhile_is_shown_once(site: &Site) {
    let since = format!("{:.3}", runtime::now());
    let arguments = ["tail", "--since", &since, "--quiet", "4"];
    let looking = callbacks_command(&site.stack, &arguments).stdout(Stdio::piped()).spawn().unwrap();
    for (n, result) in ["DENIED", "DENIED", "VERIFIED"].into_iter().enumerate() {
        sleep(Duration::from_millis(1500)).await;
        site.report(&format!("meanwhile-{}", n / 2), result, "OK").await;
    }
    let output = looking.wait_with_output().await.unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let subjects: Vec<&str> = lines.lines().map(|line| line.split_whitespace().nth(3).unwrap()).collect();
    assert_eq!(subjects, ["meanwhile-0", "meanwhile-1"], "{lines}");
    site.take(&site.stack.verification_queue_url, 2).await;
}

async fn what_was_received_is_given_back_once(site: &Site) {
    let (verdicts, deliveries) = (&site.stack.verification_queue_url, &site.stack.delivery_queue_url);
    site.report("held", "DENIED", "OK").await;
    site.deliver("held-session", "Your code is 434343").await;
    site.wait_for(verdicts, 1).await;
    site.wait_for(deliveries, 1).await;

    // Consumers of a deployed stack would wait.
    let deployed = Stack { endpoint_url: None, ..site.stack.clone() };
    let (code, printed, errors) = callbacks_and_errors(&deployed, &["tail", "--receive"]).await;
    assert_eq!((code, printed.as_str()), (1, ""));
    assert!(errors.contains("--i-know-that-consumers-wait") && errors.contains("dead letter"), "{errors}");
    // And nothing is deleted that was not received.
    for arguments in [&["tail", "--delete"][..], &["tail", "--i-know-that-consumers-wait"]] {
        assert_eq!(site.callbacks(arguments).await.0, 2, "{arguments:?}");
    }

    // Longer than the queue itself would hide it after five looks of a second.
    let (code, lines) = site.callbacks(&["tail", "--receive", "--quiet", "12"]).await;
    assert_eq!((code, lines.lines().count()), (0, 2), "{lines}");
    assert!(!lines.contains("434343"), "{lines}");
    assert_eq!((site.counts(verdicts).await, site.counts(deliveries).await), ((1, 0), (1, 0)));
    for dead_letters in [&site.stack.verification_dead_letters_url, &site.stack.delivery_dead_letters_url] {
        assert_eq!(site.counts(dead_letters).await, (0, 0));
    }

    let (code, lines) = site.callbacks(&["tail", "--receive", "--delete", "--json", "--quiet", "1"]).await;
    let shown: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, &shown[0]["subject"], &shown[1]["subject"]), (0, &json!("held"), &json!("held-session")));
    assert_eq!((site.counts(verdicts).await, site.counts(deliveries).await), ((0, 0), (0, 0)));
}

async fn what_was_received_is_given_back_after_ctrl_c(site: &Site) {
    let url = &site.stack.verification_queue_url;
    site.report("interrupted", "DENIED", "OK").await;
    site.wait_for(url, 1).await;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut command = callbacks_command(&site.stack, &["tail", "--receive"]);
        let mut looking = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(looking.stdout.take().unwrap()).lines();
        let line = timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap().unwrap();
        assert!(line.contains("interrupted"), "{line}");
        assert_eq!(site.counts(url).await, (0, 1));
        kill(Pid::from_raw(looking.id().unwrap().try_into().unwrap()), signal).unwrap();
        let status = timeout(Duration::from_secs(20), looking.wait()).await.unwrap().unwrap();
        assert_eq!((status.code(), site.counts(url).await), (Some(130), (1, 0)));
    }
    // Nor does it keep anything if its reader has seen enough.
    let mut command = callbacks_command(&site.stack, &["tail", "--receive"]);
    let mut looking = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(looking.stdout.take());
    let status = timeout(Duration::from_secs(20), looking.wait()).await.unwrap().unwrap();
    assert_eq!((status.code(), site.counts(url).await), (Some(141), (1, 0)));
    assert_eq!(site.take(url, 1).await[0].1, 4);
}

async fn dead_letters_that_were_looked_at_are_there_at_once(site: &Site) {
    let url = &site.stack.delivery_dead_letters_url;
    for n in 0..25 {
        site.send(url, &format!("message {n}")).await;
    }
    for _ in 0..2 {
        let (code, looked) = site.callbacks(&["redrive", "deliveries", "--dry-run"]).await;
        assert_eq!((code, looked.lines().count()), (0, 26), "{looked}");
        assert_eq!(site.counts(url).await, (25, 0));
    }
    let taken = site.take_texts(url, 25).await;
    assert!(taken.iter().all(|(_, received)| *received == 3), "{taken:?}");
}

/// What sets a title, clears the screen, breaks the line and turns the direction of text, by which a line reads as another.
const HOSTILE: &str = "h\u{1b}]0;title\u{7}\u{1b}[2J\r\n\t\u{7f}\u{85}\u{9b}31m\u{202e}\u{2066}\u{2028}\u{200f}";

#[track_caller]
fn assert_harmless(what: &str, printed: &str) {
    let is_obeyed =
        |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}');
    assert!(!printed.chars().any(is_obeyed), "{what}: {printed:?}");
}

async fn what_others_wrote_is_not_obeyed(site: &Site) {
    let subject = format!("hostile {HOSTILE}");
    site.report(&subject, "DENIED", &format!("REASON {HOSTILE}")).await;
    // Not understood, of the same verification.
    site.report(&subject, "", &format!("REASON {HOSTILE}")).await;
    let sent = site.take(&site.stack.verification_queue_url, 2).await;
    let id = sent[0].0["id"].as_str().unwrap();
    site.send(&site.stack.verification_dead_letters_url, &sent[0].0.to_string()).await;
    // The controls that SQS takes.
    let taken: String = HOSTILE.chars().filter(|c| *c >= ' ' || c.is_whitespace()).collect();
    site.send(&site.stack.verification_dead_letters_url, &taken).await;

    let only = |arguments: &[&str]| [arguments, &["--subject", &subject]].concat().join("\u{0}");
    for (arguments, lines) in [
        (only(&["list"]), 2),
        (["show", &subject].join("\u{0}"), 5),
        (["show", id, "--payload"].join("\u{0}"), 2),
        (only(&["replay", "--dry-run"]), 2),
        (only(&["reprocess", "--dry-run"]), 1),
        (["redrive", "verdicts", "--dry-run"].join("\u{0}"), 3),
    ] {
        let mut arguments: Vec<&str> = arguments.split('\u{0}').collect();
        for json in [false, true] {
            let (code, printed, errors) = callbacks_and_errors(&site.stack, &arguments).await;
            assert_eq!(code, 0, "{arguments:?}");
            assert_harmless(&format!("{arguments:?}"), &printed);
            assert_harmless(&format!("{arguments:?}"), &errors.replace(HOSTILE, ""));
            if json {
                let of_json = printed.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok());
                assert_eq!(of_json.count(), printed.lines().count(), "{arguments:?} {printed}");
            } else {
                assert_eq!(printed.lines().count(), lines, "{arguments:?} {printed}");
                // What is still not understood has an id, and a code for the reason.
                let is_shown = printed.contains(r"\u{1b}]0;title") || arguments[0] == "reprocess";
                assert!(is_shown, "{arguments:?} {printed}");
            }
            arguments.push("--json");
        }
    }
    for more in [&[][..], &["--json"]] {
        let (code, printed) = site.callbacks(&[&["tail", "--quiet", "1"][..], more].concat()).await;
        assert!(code == 0 && printed.contains("hostile"), "{printed}");
        assert_harmless("tail", &printed);
    }
    let (_, raw) = site.callbacks(&["show", id, "--raw"]).await;
    assert!(raw.contains('\u{202e}'), "these are the bytes as they came: {raw:?}");
    site.take_texts(&site.stack.verification_dead_letters_url, 2).await;
}

/// A callback that was spilled comes into the table long after it was received.
async fn what_came_late_is_shown_once_with_all_else(
    site: &Site,
    mut shown: Lines<BufReader<ChildStdout>>,
    since: &str,
) {
    site.report("in-time", "DENIED", "OK").await;
    site.take(&site.stack.verification_queue_url, 1).await;
    let mut late = site.items("in-time").await.remove(0);
    let received_at = runtime::now() - jiff::SignedDuration::from_mins(30);
    for (name, value) in [
        ("pk", "too-late".to_owned()),
        ("sk", "e".repeat(64)),
        ("received_at", format!("{received_at:.3}")),
        ("drained_at", format!("{:.3}", runtime::now())),
        ("day", received_at.strftime("%Y-%m-%d#0").to_string()),
    ] {
        late.insert(name.to_owned(), AttributeValue::S(value));
    }
    let put = site.connections.dynamodb.put_item().table_name(&site.stack.events_table);
    put.set_item(Some(late)).send().await.unwrap();
    site.take(&site.stack.verification_queue_url, 1).await;

    let mut ids = Vec::new();
    while !ids.iter().any(|(subject, _)| subject == "too-late") {
        let line = timeout(Duration::from_secs(100), shown.next_line()).await.expect("it is shown").unwrap().unwrap();
        let message: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| message[name].as_str().unwrap().to_owned();
        ids.push((text("subject"), text("id")));
    }
    let all: BTreeSet<_> = ids.iter().cloned().collect();
    assert_eq!(all.len(), ids.len(), "each once: {ids:?}");
    let (_, others) = site.callbacks(&["tail", "--since", since, "--quiet", "1", "--json"]).await;
    assert_eq!(others.lines().count() + 1, all.len(), "all of them, and the late one");
}

async fn a_record_stays_until_its_events_are_found(site: &Site) {
    let url = &site.stack.unpublished_queue_url;
    let redrive = async |more: &[&str]| {
        let (code, line) = site.callbacks(&[&["redrive", "unpublished", "--json"][..], more].concat()).await;
        let line: Value = serde_json::from_str(line.trim()).unwrap();
        (code, line["done"].as_str().unwrap().to_owned(), line["found"].clone())
    };
    let found = |events: usize, of: usize| json!({ "events": events, "unreadable": 0, "of": of });

    // What the stream still has.
    for subject in ["redriven-1", "redriven-2", "redriven-3"] {
        site.report(subject, "DENIED", "OK").await;
    }
    site.take(&site.stack.verification_queue_url, 3).await;
    let (arn, shard, sequence_numbers) = site.stream().await;
    let last_three = &sequence_numbers[sequence_numbers.len() - 3..];
    let batch = |arn: &str, size: usize, time: &str| {
        json!({ "DDBStreamBatchInfo": {
            "shardId": shard, "startSequenceNumber": last_three[0], "endSequenceNumber": last_three[2],
            "approximateArrivalOfFirstRecord": time, "approximateArrivalOfLastRecord": time,
            "batchSize": size, "streamArn": arn,
        }})
        .to_string()
    };
    let now = runtime::now().to_string();
    site.send(url, &batch(&arn, 3, &now)).await;
    assert_eq!(redrive(&[]).await, (0, "sent".to_owned(), found(3, 3)));
    assert_eq!(site.counts(url).await, (0, 0));
    site.send(url, &batch(&arn, 4, &now)).await;
    let (code, done, _) = redrive(&[]).await;
    assert!(code == 1 && done.starts_with("stays: found 3 of its 4 events") && done.contains("--forget"), "{done}");
    assert_eq!(site.counts(url).await, (1, 0), "it is there at once, for the next redrive");
    assert_eq!(redrive(&["--forget"]).await, (0, "forgotten".to_owned(), found(3, 4)));
    assert_eq!(site.counts(url).await, (0, 0));

    // What it has forgotten, and nothing in the table is of that time.
    let forgotten = format!("{}/stream/2020-01-01T00:00:00.000", arn.split("/stream/").next().unwrap());
    site.send(url, &batch(&forgotten, 1, "2026-01-01T00:00:00Z")).await;
    let (code, done, _) = redrive(&[]).await;
    assert!(code == 1 && done.starts_with("stays: found 0 of its 1 events"), "{done}");
    assert_eq!(redrive(&["--forget"]).await, (0, "forgotten".to_owned(), found(0, 1)));
    site.send(url, &batch(&forgotten, 3, &now)).await;
    let (code, done, found_there) = redrive(&[]).await;
    assert!(code == 0 && done == "sent" && found_there["events"].as_u64() >= Some(3), "{done} {found_there}");

    // An event that was set aside, and is gone.
    site.send(url, &json!({ "pk": "gone", "sk": "0a1b" }).to_string()).await;
    let (code, done, _) = redrive(&[]).await;
    assert!(code == 1 && done.starts_with("stays: found 0 of its 1 events"), "{done}");
    assert_eq!(redrive(&["--forget"]).await.1, "forgotten");

    for arguments in [&["redrive", "--forget"][..], &["redrive", "verdicts", "unpublished", "--forget"]] {
        assert_eq!(site.callbacks(arguments).await.0, 1, "{arguments:?}");
    }
    site.drain().await;
}

async fn what_cannot_be_read_is_passed_over(site: &Site) {
    for result in ["DENIED", "VERIFIED"] {
        site.report("unreadable", result, "OK").await;
    }
    // Not understood, so that there is something to be read again.
    site.report("unreadable", "", "OK").await;
    site.take(&site.stack.verification_queue_url, 3).await;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let id = "f".repeat(64);
    let mut item = site.items("unreadable").await.remove(0);
    item.insert("sk".to_owned(), text(&id));
    item.insert("outcome".to_owned(), text("a-secret-outcome"));
    let put = site.connections.dynamodb.put_item().table_name(&site.stack.events_table);
    put.set_item(Some(item)).send().await.unwrap();
    // The publisher cannot read it either.
    site.wait_for(&site.stack.unpublished_queue_url, 1).await;

    for (arguments, code, printed_lines) in [
        (&["list", "--since", "1h", "--subject", "unreadable"][..], 0, 3),
        (&["list", "--since", "1h", "--provider", "verifyvasp", "--json"], 0, 3),
        (&["show", "unreadable"], 0, 3),
        (&["replay", "--subject", "unreadable", "--dry-run"], 1, 3),
        (&["replay", "--since", "1h", "--subject", "unreadable"], 1, 1),
        (&["replay", "--since", "1h", "--json"], 1, 1),
        (&["reprocess", "--subject", "unreadable"], 1, 1),
        (&["reprocess"], 1, 1),
        (&["rebuild", "--subject", "unreadable", "--json"], 1, 1),
        (&["rebuild", "--since", "1h"], 1, 1),
        (&["tail", "--since", "1h", "--quiet", "1"], 0, 3),
        (&["redrive", "unpublished"], 1, 2),
    ] {
        let (exited, printed, errors) = callbacks_and_errors(&site.stack, arguments).await;
        assert_eq!(exited, code, "{arguments:?}: {printed} {errors}");
        assert!(printed.lines().count() >= printed_lines, "{arguments:?}: {printed}");
        assert_eq!(errors.matches(&id).count(), 1, "{arguments:?}: {errors}");
        assert!(!format!("{printed}{errors}").contains("a-secret-outcome"), "{arguments:?}: {printed} {errors}");
        assert!(!errors.contains("unreadable"), "{arguments:?} names the subject: {errors}");
    }
    let (code, printed, errors) = callbacks_and_errors(&site.stack, &["show", &id, "--subject", "unreadable"]).await;
    assert_eq!((code, printed.as_str()), (1, ""));
    assert!(errors.contains("cannot be shown") && !errors.contains("a-secret-outcome"), "{errors}");

    let deleted = site.connections.dynamodb.delete_item().table_name(&site.stack.events_table);
    deleted.key("pk", text("unreadable")).key("sk", text(&id)).send().await.unwrap();

    // A row that it cannot read is as little in the way.
    let row = site.connections.dynamodb.update_item().table_name(&site.stack.verifications_table);
    let row = row.key("pk", text("verifyvasp#unreadable")).key("sk", text("verification"));
    let row = row.update_expression("SET course.decisions = :none").expression_attribute_values(":none", text("none"));
    row.send().await.unwrap();
    site.drain().await;
    for (arguments, code) in [
        (&["list", "--since", "1h"][..], 0),
        (&["show", "unreadable"], 0),
        (&["replay", "--since", "1h", "--json"], 1),
        (&["rebuild", "--since", "1h", "--json"], 1),
        (&["tail", "--since", "1h", "--quiet", "1"], 0),
    ] {
        let (exited, printed, errors) = callbacks_and_errors(&site.stack, arguments).await;
        assert_eq!(exited, code, "{arguments:?}: {printed} {errors}");
        assert!(!printed.is_empty() && !errors.contains("unreadable"), "{arguments:?}: {printed} {errors}");
        match arguments[0] {
            "replay" => assert!(!printed.contains(r#""sent":0"#), "{printed}"),
            "rebuild" => assert!(printed.contains(r#""failed":0"#), "{printed}"),
            _ => {}
        }
    }
    site.drain().await;
}

impl Site {
    async fn callbacks(&self, arguments: &[&str]) -> (i32, String) {
        callbacks(&self.stack, arguments).await
    }

    /// Sends a result of VerifyVASP; an empty one is not understood.
    async fn report(&self, subject: &str, result: &str, reason: &str) {
        let data = json!({ "verificationUuid": subject, "result": result, "reason": reason });
        let body = json!({ "callbackType": "VERIFICATION_RESULT", "data": data });
        let request =
            self.http.post(self.stack.url("verifyvasp").unwrap()).bearer_auth(&self.stack.secrets["verifyvasp"]);
        let request = request.header("content-type", "application/json").body(body.to_string());
        assert_eq!(request.send().await.unwrap().status(), 200);
    }

    /// Sends a result of VerifyVASP with this token, and returns the status of the answer.
    async fn report_with(&self, token: &str, subject: &str) -> u16 {
        let data = json!({ "verificationUuid": subject, "result": "DENIED", "reason": "OK" });
        let body = json!({ "callbackType": "VERIFICATION_RESULT", "data": data });
        let request = self.http.post(self.stack.url("verifyvasp").unwrap()).bearer_auth(token);
        let request = request.header("content-type", "application/json").body(body.to_string());
        request.send().await.unwrap().status().as_u16()
    }

    /// Sends the status of a process of Signicat.
    async fn process(&self, subject: &str, status: &str) {
        let body = json!({ "dossierId": "a-dossier", "processId": subject, "status": status });
        let request = self.http.post(self.stack.url("signicat").unwrap()).body(body.to_string());
        let request = request.header("authorization", &self.stack.secrets["signicat"]);
        let request = request.header("content-type", "application/json");
        assert_eq!(request.send().await.unwrap().status(), 200);
    }

    /// Has a function start anew.
    async fn restart(&self, function: &str, variable: &str) {
        let endpoint_url = self.stack.endpoint_url.as_ref().unwrap();
        let name = &self.stack.functions[function];
        let url = format!("{endpoint_url}/2015-03-31/functions/{name}/configuration");
        let configuration = self.http.get(&url).send().await.unwrap().text().await.unwrap();
        let mut configuration: Value = serde_json::from_str(&configuration).unwrap();
        configuration["Environment"]["Variables"]["RESTARTED"] = json!(variable);
        let body = json!({ "Environment": configuration["Environment"] });
        self.http.put(&url).body(body.to_string()).send().await.unwrap().error_for_status().unwrap();
    }

    /// Sends a password of Identomat that is to be delivered.
    async fn deliver(&self, subject: &str, text: &str) {
        let body = json!({
            "callbackApiKey": self.stack.secrets["identomat"], "type": "one-time-password", "sessionId": subject,
            "phoneNumber": "+00000000", "text": text,
        });
        let request = self.http.post(self.stack.url("identomat").unwrap()).header("content-type", "application/json");
        assert_eq!(request.body(body.to_string()).send().await.unwrap().status(), 200);
    }

    /// The items of a verification in the events table.
    async fn items(&self, subject: &str) -> Vec<HashMap<String, AttributeValue>> {
        let query = self.connections.dynamodb.query().table_name(&self.stack.events_table);
        let query = query.key_condition_expression("pk = :subject").consistent_read(true);
        let subject = AttributeValue::S(subject.to_owned());
        query.expression_attribute_values(":subject", subject).send().await.unwrap().items.unwrap()
    }

    async fn send(&self, url: &str, body: &str) {
        let name = || body.chars().filter(char::is_ascii_alphanumeric).take(100).collect::<String>();
        let fifo = url.ends_with(".fifo").then(name);
        let send = self.connections.sqs.send_message().queue_url(url).message_body(body);
        let send = send.set_message_group_id(fifo.clone()).set_message_deduplication_id(fifo);
        send.send().await.unwrap();
    }

    /// How many messages of a queue can be received, and how many are hidden.
    async fn counts(&self, url: &str) -> (usize, usize) {
        let names = [ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible];
        let asked = self.connections.sqs.get_queue_attributes().queue_url(url);
        let attributes = asked.set_attribute_names(Some(names.to_vec())).send().await.unwrap().attributes.unwrap();
        let count = |name| attributes[&name].parse().unwrap();
        (count(ApproximateNumberOfMessages), count(ApproximateNumberOfMessagesNotVisible))
    }

    async fn wait_for(&self, url: &str, expected: usize) {
        for _ in 0..600 {
            if self.counts(url).await.0 >= expected {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("{expected} messages in {url}");
    }

    /// Takes so many messages out of a queue, and how often each was received.
    async fn take(&self, url: &str, expected: usize) -> Vec<(Value, u32)> {
        let texts = self.take_texts(url, expected).await.into_iter();
        texts.map(|(body, received)| (serde_json::from_str(&body).unwrap(), received)).collect()
    }

    async fn take_texts(&self, url: &str, expected: usize) -> Vec<(String, u32)> {
        self.wait_for(url, expected).await;
        let sqs = &self.connections.sqs;
        let mut taken = Vec::new();
        loop {
            let receive = sqs.receive_message().queue_url(url).max_number_of_messages(10);
            let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
            let messages = receive.wait_time_seconds(1).send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let count = &message.attributes.as_ref().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount];
                let received = count.parse().unwrap();
                let delete = sqs.delete_message().queue_url(url).receipt_handle(message.receipt_handle.unwrap());
                delete.send().await.unwrap();
                taken.push((message.body.unwrap(), received));
            }
        }
        assert_eq!(taken.len(), expected, "{taken:?}");
        taken
    }

    /// Empties the queues.
    async fn drain(&self) {
        for url in
            [&self.stack.verification_queue_url, &self.stack.delivery_queue_url, &self.stack.unpublished_queue_url]
        {
            self.connections.sqs.purge_queue().queue_url(url).send().await.unwrap();
        }
    }

    /// The stream of the events table: its ARN, its shard, and the sequence numbers of all that is in it.
    async fn stream(&self) -> (String, String, Vec<String>) {
        let table =
            self.connections.dynamodb.describe_table().table_name(&self.stack.events_table).send().await.unwrap();
        let arn = table.table.unwrap().latest_stream_arn.unwrap();
        let streams = &self.connections.streams;
        let described = streams.describe_stream().stream_arn(&arn).send().await.unwrap().stream_description.unwrap();
        let shard = described.shards()[0].shard_id().unwrap().to_owned();
        let iterator = streams.get_shard_iterator().stream_arn(&arn).shard_id(&shard);
        let iterator = iterator.shard_iterator_type("TRIM_HORIZON".into()).send().await.unwrap();
        let mut iterator = iterator.shard_iterator.unwrap();
        let mut sequence_numbers = Vec::new();
        loop {
            let page = streams.get_records().shard_iterator(iterator).send().await.unwrap();
            let changes = page.records().iter().filter_map(|record| record.dynamodb());
            sequence_numbers.extend(changes.filter_map(|change| change.sequence_number().map(str::to_owned)));
            match page.next_shard_iterator().map(str::to_owned) {
                Some(next) if !page.records().is_empty() => iterator = next,
                _ => return (arn, shard, sequence_numbers),
            }
        }
    }
}
