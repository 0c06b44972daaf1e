//! The console: who may use it, what it shows, and that nothing of what others sent is obeyed by a
//! browser.

use std::{collections::BTreeSet, process::Stdio, slice, time::Duration};

use aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessages;
use cli::{
    console::Server,
    local::{Folder, Lifetime, LocalStack},
    stack::{Connections, Stack},
    tail::{delete, receive},
};
use fantoccini::{Locator, key::Key};
use jiff::SignedDuration;
use model::{CourseKey, Courses as _, StoredEvent, Timestamp};
use reqwest::{Client, StatusCode, redirect::Policy};
use serde_json::{Value, json};
use tests::{Browser, Database, Looks, answer, authentic, callbacks_command, free_port};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    time::{sleep, timeout},
};

/// What a browser would obey if it were not escaped, wherever it stood.
const HOSTILE: &str = " \n\"'></pre></script><script>window.obeyed=1</script><img src=x onerror=window.obeyed=1>";

/// A console on tables in memory.
struct Site {
    database: Database,
    /// Without a path.
    url: String,
    /// The address with the token.
    address: String,
    http: Client,
    cookie: String,
}

impl Site {
    async fn start() -> Self {
        let database = Database::start().await;
        let stack = stack(&database.proxy.endpoint_url);
        Self::of(database, stack).await
    }

    /// A console of this stack.
    async fn of(database: Database, stack: Stack) -> Self {
        let server = Server::bind(stack, None, Some(0)).await.unwrap();
        let address = server.address();
        let url = address.split("/?").next().unwrap().to_owned();
        tokio::spawn(server.serve());
        let http = Client::builder().redirect(Policy::none()).build().unwrap();
        let entered = http.get(&address).send().await.unwrap();
        assert_eq!(
            (entered.status(), &entered.headers()["location"]),
            (StatusCode::SEE_OTHER, &"/events".parse().unwrap())
        );
        let cookie = entered.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        Self { database, url, address, http, cookie }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.http.get(format!("{}{path}", self.url)).header("cookie", &self.cookie).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// A page that is there.
    async fn page(&self, path: &str) -> String {
        let (status, page) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {page}");
        page
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.http.post(format!("{}{path}", self.url)).header("cookie", &self.cookie);
        let request = request.header("origin", &self.url).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(form).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Has a function receive a callback, and the publisher decide about it. Returns what is
    /// stored.
    async fn receive(&self, function: &str, body: &Value, at: Timestamp) -> StoredEvent {
        let event = self.receive_undecided(function, body, at).await;
        let (key, courses) = (CourseKey::of(&event), self.database.courses());
        let mut course = courses.read(slice::from_ref(&key)).await.unwrap().remove(0);
        course.decide(&event, runtime::now());
        courses.write(&key, &course).await.unwrap();
        event
    }

    async fn receive_undecided(&self, function: &str, body: &Value, at: Timestamp) -> StoredEvent {
        let event = authentic(function, body.to_string().as_bytes()).unwrap().to_string();
        let memory = model::MemoryStore::default();
        answer(function, &memory, &event, at).await.unwrap();
        assert_eq!(answer(function, &self.database.store(), &event, at).await.unwrap().status_code, 200);
        memory.events().remove(0)
    }
}

/// A local stack that has nothing but these tables.
fn stack(endpoint_url: &str) -> Stack {
    let routes = ["identomat", "jumio", "signicat", "verifyvasp", "wallet-verification"];
    let routes = routes.map(|function| (function.to_owned(), format!("/callbacks/{function}").into()));
    serde_json::from_value(json!({
        "version": "0.0.0", "api_url": "http://127.0.0.1:9", "endpoint_url": endpoint_url, "region": "eu-central-1",
        "routes": serde_json::Map::from_iter(routes), "functions": {}, "function_ids": {}, "host_header": null, "events_table": "events",
        "expectations_table": "expectations", "verifications_table": "verifications", "event_retention_days": 365,
        "perishable_seconds": 3600, "message_detail": "reference", "verification_queue_url": "http://127.0.0.1:9/1",
        "verification_dead_letters_url": "http://127.0.0.1:9/2", "delivery_queue_url": "http://127.0.0.1:9/3",
        "delivery_dead_letters_url": "http://127.0.0.1:9/4", "spill_queue_url": "http://127.0.0.1:9/5",
        "spill_dead_letters_url": "http://127.0.0.1:9/6", "unpublished_queue_url": "http://127.0.0.1:9/7",
        "secrets": {}, "wallet": null,
    }))
    .unwrap()
}

fn process(subject: &str, status: &str) -> Value {
    json!({ "dossierId": "d", "processId": subject, "status": status })
}

fn result(subject: &str, result: &str, reason: &str) -> Value {
    let data = json!({ "verificationUuid": subject, "result": result, "reason": reason, "message": "invented" });
    json!({ "callbackType": "VERIFICATION_RESULT", "data": data })
}

fn ago(minutes: i64) -> Timestamp {
    let time = runtime::now() - SignedDuration::from_mins(minutes);
    Timestamp::from_millisecond(time.as_millisecond()).unwrap()
}

/// The address of an event's page.
fn address_of(event: &StoredEvent) -> String {
    let fields = [("subject", event.subject.as_str()), ("id", event.id.as_str())];
    format!("/event?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish())
}

/// The ids of the events in a list, in their order.
fn ids(page: &str) -> Vec<String> {
    let ids = page.split(" id=\"e").skip(1).filter_map(|row| row.split('"').next());
    ids.filter(|id| id.len() == 64).map(str::to_owned).collect()
}

#[tokio::test]
async fn who_has_no_token_or_comes_from_elsewhere_sees_nothing_and_does_nothing() {
    let site = Site::start().await;
    let event = site.receive("signicat", &process("a-subject", "accepted"), ago(1)).await;
    let paths = [
        "/",
        "/events",
        "/live",
        &address_of(&event),
        "/verification?subject=a-subject",
        "/providers",
        "/queues",
        "/none",
    ];
    for path in paths {
        let url = format!("{}{path}", site.url);
        for (name, value) in [("cookie", "callbacks-console=0"), ("host", "evil.example.com")] {
            let cookie = if name == "host" { site.cookie.as_str() } else { "a=b" };
            let answer = site.http.get(&url).header("cookie", cookie).header(name, value).send().await.unwrap();
            assert_eq!(answer.status(), 403, "{path} {name}");
            let headers = answer.headers().clone();
            let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
            assert!(text("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
            assert_eq!((text("cache-control"), text("x-content-type-options")), ("no-store".into(), "nosniff".into()));
            let page = answer.text().await.unwrap();
            assert!(page.contains("callbacks console") && !page.contains("a-subject"), "{page}");
        }
    }
    let fields = format!("subject=a-subject&id={}", event.id);
    for path in ["/event/payload", "/queues/look", "/queues/redrive", "/again/replay", "/again/reprocess", "/play"] {
        for origin in [None, Some("http://example.com"), Some("null"), Some("http://127.0.0.1:1")] {
            let post = site.http.post(format!("{}{path}", site.url)).header("cookie", &site.cookie);
            let post = origin.map_or(post.try_clone().unwrap(), |origin| post.header("origin", origin));
            assert_eq!(post.body(fields.clone()).send().await.unwrap().status(), 403, "{path} {origin:?}");
        }
        assert_eq!(site.get(path).await.0, if path == "/play" { 200 } else { 405 }, "{path}");
    }
    let (status, page) = site.get("/events").await;
    assert!(status == 200 && page.contains("a-subject"));
}

#[tokio::test]
async fn a_page_of_events_reads_no_more_than_it_shows_and_no_event_is_missed() {
    let site = Site::start().await;
    let store = site.database.store();
    // Some in the same millisecond, and over two days.
    for number in 0..230 {
        let at = ago(10 + i64::from(number / 3) * 30);
        let event = authentic("signicat", process(&format!("s-{number}"), "accepted").to_string().as_bytes()).unwrap();
        answer("signicat", &store, &event.to_string(), at).await.unwrap();
    }
    let mut stored = site.database.events().await;
    stored.sort_by(|one, other| (other.received_at, &other.id).cmp(&(one.received_at, &one.id)));
    let _ = site.database.proxy.calls();

    let (mut path, mut shown, mut pages) = ("/events".to_owned(), Vec::new(), 0);
    loop {
        let page = site.page(&path).await;
        shown.extend(ids(&page));
        pages += 1;
        let calls = site.database.proxy.calls();
        let count = |operation: &str| calls.iter().filter(|call| call.ends_with(operation)).count();
        assert_eq!(count("Scan"), 0);
        if pages == 1 {
            assert!(count("Query") <= 24 && count("BatchGetItem") <= 3, "{calls:?}");
        }
        let Some(link) = page.split("rel=\"next\" href=\"").nth(1) else { break };
        let next = link.split('"').next().unwrap().replace("&amp;", "&");
        if ids(&page).is_empty() {
            break;
        }
        path = next;
    }
    let expected: Vec<String> = stored.into_iter().map(|event| event.id).collect();
    assert!(shown == expected, "{} of {}", shown.len(), expected.len());
}

#[tokio::test]
async fn filters_are_in_the_address_and_what_matters_stands_out() {
    let site = Site::start().await;
    let rejected = site.receive("signicat", &process("one", "rejected"), ago(9)).await;
    let conflicting = site.receive("signicat", &process("one", "accepted"), ago(8)).await;
    let late = site.receive("signicat", &process("one", "pending"), ago(7)).await;
    let unrecognized = site.receive("verifyvasp", &result("two", "", "R-1"), ago(6)).await;
    let first = site.receive("verifyvasp", &result("three", "DENIED", "R-2"), ago(5)).await;
    let repeat = site.receive("verifyvasp", &result("three", "DENIED", "R-2"), ago(4)).await;
    let undecided = site.receive_undecided("verifyvasp", &result("four", "VERIFIED", "OK"), ago(3)).await;
    let all = [&undecided, &repeat, &first, &unrecognized, &late, &conflicting, &rejected];

    for (query, expected) in [
        ("", &all[..]),
        ("?provider=signicat", &[&late, &conflicting, &rejected]),
        ("?outcome=rejected", &[&repeat, &first, &rejected]),
        ("?kind=verifyvasp.unrecognized", &[&unrecognized]),
        ("?subject=three", &[&repeat, &first]),
        ("?subject=three&outcome=approved", &[]),
        ("?since=330s", &[&undecided, &repeat, &first]),
        ("?subject=nobody", &[]),
    ] {
        let expected: Vec<&str> = expected.iter().map(|event| event.id.as_str()).collect();
        assert_eq!(ids(&site.page(&format!("/events{query}")).await), expected, "{query}");
    }
    let page = site.page("/events").await;
    let row = |event: &StoredEvent| page.split("<li ").find(|row| row.contains(&event.id)).unwrap().to_owned();
    for (event, note) in [
        (&conflicting, "note alarm\">conflict<"),
        (&conflicting, "published as review"),
        (&late, "note warning\">late<"),
        (&unrecognized, "note warning\">unrecognized: missing_field:result<"),
        (&repeat, "repeat, not published"),
        (&undecided, "not decided yet"),
    ] {
        assert!(row(event).contains(note), "{note}: {}", row(event));
    }
    let stands_out = |event: &StoredEvent| row(event).contains("class=\"stands-out");
    assert!(stands_out(&conflicting) && stands_out(&late) && stands_out(&unrecognized));
    assert!(!stands_out(&rejected) && !stands_out(&repeat));
    for (query, known) in [
        ("?provider=nobody", "the providers are identomat"),
        ("?kind=jumio.x", "the kinds of jumio are"),
        ("?outcome=granted", "an outcome is approved"),
        ("?since=yesterday", "neither a time"),
        ("?before=1", "before is no place"),
    ] {
        let (status, page) = site.get(&format!("/events{query}")).await;
        assert!(status == 400 && page.contains(known), "{query}: {page}");
    }

    let page = site.page("/verification?provider=signicat&subject=one").await;
    let parts =
        ["Conflict: final verdicts differ", "approved", "conflict", "late", "Message: none, sequence", "was review"];
    assert!(parts.iter().all(|part| page.contains(part)), "{page}");
    let course = page.split("<ol class=\"course\">").nth(1).unwrap();
    let places = [&rejected, &conflicting, &late].map(|event| course.find(&event.id).unwrap());
    assert!(places.is_sorted(), "{course}");
    let page = site.page("/verification?subject=three").await;
    assert!(page.contains("2 (repeats included)") && page.contains("repeat, not published"), "{page}");
    assert_eq!(site.get("/verification?subject=nobody").await.0, 404);
}

#[tokio::test]
async fn a_payload_is_shown_on_request_alone_and_what_others_wrote_is_escaped() {
    let site = Site::start().await;
    let mut body = result(HOSTILE, "DENIED", HOSTILE);
    body["name"] = json!("EXAMPLE-PERSON \u{202e}");
    let event = site.receive("verifyvasp", &body, ago(2)).await;
    let subject = address_of(&event).replace("/event?", "/verification?");
    for path in ["/events", &address_of(&event), &subject] {
        let page = site.page(path).await;
        assert!(page.contains("&lt;img src=x") && !page.contains("<img") && !page.contains("EXAMPLE-PERSON"), "{page}");
        assert_eq!(page.matches("<script").count(), 1, "{page}");
    }
    let page = site.page(&address_of(&event)).await;
    assert!(page.contains("&quot;specversion&quot;: &quot;1.0&quot;") && page.contains("Show the payload"), "{page}");

    let fields = [("subject", event.subject.as_str()), ("id", event.id.as_str())];
    let (status, page) = site.post("/event/payload", &fields).await;
    assert!(
        status == 200 && page.contains("This is personal data") && page.contains("EXAMPLE-PERSON \\u{202e}"),
        "{page}"
    );
    assert!(!page.contains("<img") && page.matches("<script").count() == 1, "{page}");
    let other = [("subject", "another"), ("id", event.id.as_str())];
    assert_eq!(site.post("/event/payload", &other).await.0, 404);
    assert_eq!(site.post("/event/payload", &[]).await.0, 400);
    assert_eq!(site.post("/event/payload", &[("id", &"x".repeat(20_000))]).await.0, 413);
}

#[tokio::test]
async fn a_password_is_shown_on_request_alone() {
    let site = Site::start().await;
    let sample = tests::samples().into_iter().find(|sample| sample.name() == "identomat/one-time-password").unwrap();
    let sample = sample.with_field("text", "Your code is 909042").unwrap();
    let at = ago(1);
    assert_eq!(answer("identomat", &site.database.store(), &sample.text, at).await.unwrap().status_code, 200);
    let event = site.database.events().await.remove(0);
    let courses = site.database.courses();
    let mut course = model::Course::default();
    course.decide(&event, runtime::now());
    courses.write(&CourseKey::of(&event), &course).await.unwrap();
    let page = site.page(&address_of(&event)).await;
    assert!(page.contains("Shown without what is to be delivered") && !page.contains("909042"), "{page}");
    assert!(!site.page("/events").await.contains("909042"));
    let fields = [("subject", event.subject.as_str()), ("id", event.id.as_str())];
    assert!(site.post("/event/payload", &fields).await.1.contains("909042"));
}

#[tokio::test]
async fn what_is_done_again_is_shown_first() {
    let site = Site::start().await;
    let unrecognized = site.receive("verifyvasp", &result("again", "", "R-1"), ago(6)).await;
    site.receive("verifyvasp", &result("again", "DENIED", "R-1"), ago(5)).await;
    let (status, page) = site.post("/again/replay", &[]).await;
    assert!(status == 400 && page.contains("say which events"), "{page}");
    let (status, page) = site.post("/again/replay", &[("since", "1h"), ("provider", "verifyvasp")]).await;
    assert!(status == 200 && ids(&page).len() == 2 && page.contains("Replay 2 events"), "{page}");
    assert!(
        page.contains("action=\"/again/replay?provider=verifyvasp&amp;until=2") && page.contains("&amp;since=2"),
        "{page}"
    );
    assert!(page.contains("callbacks replay --provider verifyvasp --until 2"), "{page}");
    let (status, page) = site.post("/again/reprocess", &[("subject", "again")]).await;
    let line = format!("{}  missing_field:result  -&gt;  still not understood: missing_field:result", unrecognized.id);
    assert!(status == 200 && page.contains(&line) && page.contains("Reprocess 1 events"), "{page}");
    let before = site.database.events().await.len();
    let (status, page) = site.post("/again/reprocess", &[("subject", "again"), ("confirmed", "yes")]).await;
    assert!(status == 200 && page.contains("0 of 1 understood now"), "{page}");
    assert_eq!(site.database.events().await.len(), before);
    assert_eq!(site.post("/again/erase", &[("subject", "again")]).await.0, 404);
    // There are no queues here, and the page says so.
    let page = site.page("/queues").await;
    assert!(page.contains("failed to look at the queue") && page.contains("unpublished"), "{page}");
    let page = site.page("/providers").await;
    assert!(page.contains("Not known: ") && page.contains("callbacks why refused jumio"), "{page}");
}

#[tokio::test]
async fn new_events_are_told_as_they_come() {
    let site = Site::start().await;
    let live = site.http.get(format!("{}/live?provider=signicat", site.url)).header("cookie", &site.cookie);
    let mut live = live.send().await.unwrap();
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    sleep(Duration::from_secs(2)).await;
    site.receive("verifyvasp", &result("other", "DENIED", "R-1"), ago(0)).await;
    let event = site.receive("signicat", &process("live-1", "accepted"), ago(0)).await;
    let mut told = String::new();
    while !told.contains(&event.id) {
        let chunk = timeout(Duration::from_secs(20), live.chunk()).await.expect("it is told").unwrap().unwrap();
        told.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(told.contains("event: row") && !told.contains("other"), "{told}");
}

/// Data as a night would have it, all invented.
async fn fill(site: &Site) {
    for number in 0..14_i64 {
        let subject = format!("00000000-0000-4000-8000-0000000000{number:02}");
        let verdict = if number % 3 == 0 { "DENIED" } else { "VERIFIED" };
        site.receive("verifyvasp", &result(&subject, verdict, "OK"), ago(90 - number * 4)).await;
    }
    site.receive("signicat", &process("example-process-1", "accepted"), ago(33)).await;
    site.receive("signicat", &process("example-process-1", "rejected"), ago(21)).await;
    site.receive("signicat", &process("example-process-1", "pending"), ago(18)).await;
    site.receive(
        "identomat",
        &json!({ "type": "session-change", "sessionId": "example-session-7", "result": "APPROVED" }),
        ago(14),
    )
    .await;
    site.receive("verifyvasp", &result("00000000-0000-4000-8000-000000000021", "", "OK"), ago(9)).await;
    site.receive("signicat", &process("example-process-2", "pending"), ago(7)).await;
    for minutes in [5, 4] {
        site.receive(
            "verifyvasp",
            &result("00000000-0000-4000-8000-000000000022", "DENIED", "LACK-OF-INFORMATION"),
            ago(minutes),
        )
        .await;
    }
}

/// Each text whose contrast with what is behind it is less than WCAG 2.2 AA asks of normal text.
const LOW_CONTRAST: &str = r"
    const channels = (color) => color.match(/[\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
        .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = channels(getComputedStyle(at).backgroundColor);
            if (color.length < 4 || color[3] === 1) return color;
        }
        return [255, 255, 255];
    };
    return Array.from(document.body.querySelectorAll('*'))
        .filter((element) => Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.textContent.trim()))
        .map((element) => {
            const [one, other] = [luminance(channels(getComputedStyle(element).color)), luminance(behind(element))];
            const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
            return [contrast, element.className, element.textContent.slice(0, 40)];
        })
        .filter(([contrast]) => contrast < 4.5);";

async fn check_page(browser: &Browser, name: &str) {
    let low: Value = browser.run(LOW_CONTRAST).await;
    assert_eq!(low, json!([]), "{name}");
    let wide = browser.run("return [document.documentElement.scrollWidth, innerWidth]").await;
    assert!(wide[0].as_u64() <= wide[1].as_u64(), "{name} scrolls sideways: {wide}");
    let unnamed = browser.run(
        "return Array.from(document.querySelectorAll('a, button, input:not([type=hidden]), select'))\
         .filter((e) => !(e.textContent.trim() || e.closest('label') || e.getAttribute('aria-label'))).length",
    );
    assert_eq!(unnamed.await, 0, "{name}");
}

async fn picture(browser: &Browser, name: &str) {
    let folder = cli::project_root().unwrap().join("target/console");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.png")), browser.client.screenshot().await.unwrap()).unwrap();
}

/// The picture in the README. `UPDATE_SCREENSHOT=1 cargo test -p tests --test console` writes it.
#[expect(clippy::disallowed_methods, reason = "how a test is asked to write what is in the README")]
async fn picture_for_readme(site: &Site) {
    let Some(browser) = Browser::start(Looks::Light).await else { return };
    browser.client.goto(&site.address).await.unwrap();
    browser.until("document.getElementById('live-state').textContent.startsWith('Live')").await;
    sleep(Duration::from_secs(4)).await;
    picture(&browser, "readme").await;
    browser.end().await;
    if std::env::var_os("UPDATE_SCREENSHOT").is_some() {
        let root = cli::project_root().unwrap();
        std::fs::copy(root.join("target/console/readme.png"), root.join("docs/console.png")).unwrap();
    }
}

/// By WebDriver, in a real browser. Where there is none, the test says so and passes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_it_and_obeys_nothing_that_others_wrote() {
    let site = Site::start().await;
    fill(&site).await;
    picture_for_readme(&site).await;
    let hostile = site.receive("verifyvasp", &result(HOSTILE, "DENIED", HOSTILE), ago(3)).await;
    for looks in [Looks::Light, Looks::Dark, Looks::Phone] {
        let Some(browser) = Browser::start(looks).await else {
            eprintln!(
                "skipped: chromium and chromedriver are not installed (apt-get install chromium chromium-driver)"
            );
            return;
        };
        let client = &browser.client;
        client.goto(&site.address).await.unwrap();
        assert_eq!(client.current_url().await.unwrap().as_str(), format!("{}/events", site.url), "without the token");
        browser.until("document.getElementById('live-state').textContent.startsWith('Live')").await;
        let conflict = "/verification?provider=signicat&subject=example-process-1";
        let hostile_pages = [address_of(&hostile), address_of(&hostile).replace("/event?", "/verification?")];
        let pages = [
            "/events",
            conflict,
            &hostile_pages[0],
            &hostile_pages[1],
            "/providers",
            "/queues",
            "/play",
            "/events?since=x",
        ];
        for (number, path) in pages.iter().enumerate() {
            client.goto(&format!("{}{path}", site.url)).await.unwrap();
            check_page(&browser, path).await;
            picture(&browser, &format!("{looks:?}-{number}")).await;
            assert_eq!(
                browser.run("return [window.obeyed || 0, document.images.length]").await,
                json!([0, 0]),
                "{path}"
            );
        }

        // The form's Origin is accepted, and the payload is not obeyed either.
        client.goto(&format!("{}{}", site.url, hostile_pages[0])).await.unwrap();
        client.find(Locator::Css("form[action^='/event/payload'] button")).await.unwrap().click().await.unwrap();
        browser.until("document.querySelector('h1').textContent === 'Payload'").await;
        assert_eq!(browser.run("return [window.obeyed || 0, document.images.length]").await, json!([0, 0]));
        assert!(browser.run("return document.body.innerText").await.as_str().unwrap().contains("window.obeyed=1"));
        check_page(&browser, "payload").await;
        assert_eq!(
            client.current_url().await.unwrap().as_str(),
            format!("{}{}", site.url, hostile_pages[0].replace("/event?", "/event/payload?")),
            "nothing in the address"
        );
        browser.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_is_told_what_comes_and_needs_no_mouse() {
    let site = Site::start().await;
    fill(&site).await;
    let Some(browser) = Browser::start(Looks::Light).await else {
        eprintln!("skipped: chromium and chromedriver are not installed (apt-get install chromium chromium-driver)");
        return;
    };
    let client = &browser.client;
    client.goto(&site.address).await.unwrap();
    browser.until("document.getElementById('live-state').textContent.startsWith('Live')").await;
    let rows = browser.run("return document.querySelectorAll('#events li').length").await;
    assert_eq!(rows, 22);
    let event = site.receive_undecided("signicat", &process(HOSTILE, "accepted"), ago(0)).await;
    browser.until(&format!("document.querySelector('#events li').id === 'e{}'", event.id)).await;
    browser.until("document.querySelector('#events li').innerText.includes('not decided yet')").await;
    assert_eq!(browser.run("return [window.obeyed || 0, document.images.length]").await, json!([0, 0]));
    // It is decided, and the row follows.
    let (key, courses) = (CourseKey::of(&event), site.database.courses());
    let mut course = courses.read(slice::from_ref(&key)).await.unwrap().remove(0);
    course.decide(&event, runtime::now());
    courses.write(&key, &course).await.unwrap();
    browser.until("!document.querySelector('#events li').innerText.includes('not decided yet')").await;
    assert_eq!(browser.run("return document.querySelectorAll('#events li').length").await, 23, "replaced, not added");

    let press = async |keys: &str| {
        let focused = client.active_element().await.unwrap();
        focused.send_keys(keys).await.unwrap();
    };
    let focused = "Array.from(document.querySelectorAll('a.open')).indexOf(document.activeElement)";
    for (keys, at) in [("j", 0), ("j", 1), ("jj", 3), ("k", 2), ("kkkkk", 0)] {
        press(keys).await;
        assert_eq!(browser.run(&format!("return {focused}")).await, at, "{keys}");
    }
    press("/").await;
    assert_eq!(browser.run("return document.activeElement.id").await, "subject");
    press(&format!("example-process-1{}", char::from(Key::Enter))).await;
    browser.until("location.search.includes('subject=example-process-1')").await;
    assert_eq!(browser.run("return document.querySelectorAll('#events li').length").await, 3);
    press("j").await;
    press(&char::from(Key::Enter).to_string()).await;
    browser.until("location.pathname === '/event'").await;
    browser.end().await;
}

/// One stack for everything that needs queues, functions and logs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_to_a_local_stack_is_shown_sent_again_and_redriven() {
    let local =
        LocalStack::start(Folder::named("console").unwrap(), Some(free_port()), Lifetime::Attached).await.unwrap();
    let (stack, connections) = (&local.stack, local.stack.connect().await);
    let site = Site::of(Database::start().await, stack.clone()).await;

    // A sample is sent, and its verification shows what came of it.
    assert!(site.page("/play").await.contains("verifyvasp/verification-result-denied"));
    let sample = [("sample", "verifyvasp/verification-result-denied"), ("about", "fresh")];
    let (status, page) = site.post("/play", &sample).await;
    assert!(status == 200 && page.contains("answered 200") && page.contains("it was published"), "{page}");
    let verification = page.split("href=\"/verification?").nth(1).unwrap().split('"').next().unwrap();
    let page = site.page(&format!("/verification?{verification}")).await;
    assert!(page.contains("Message: rejected, sequence") && page.contains("verifyvasp"), "{page}");
    let triggered = [
        ("sample", "verifyvasp/verification-result-denied"),
        ("subject", "console-triggered"),
        ("set", "/data/result=VERIFIED"),
    ];
    let (_, page) = site.post("/play", &triggered).await;
    assert!(page.contains("it was published") && page.contains("subject=console-triggered"), "{page}");
    let page = site.page("/verification?subject=console-triggered").await;
    assert!(page.contains("Message: review, sequence"), "a reason beside an approval: {page}");
    let refused = [("sample", "verifyvasp/refused-wrong-token")];
    assert!(site.post("/play", &refused).await.1.contains("answered 401"));
    assert_eq!(site.post("/play", &[("sample", "../../etc/passwd")]).await.0, 404);
    let page = site.page("/events").await;
    assert!(ids(&page).len() == 2 && page.contains("console-"), "{page}");

    // A stranger called, and the provider goes on.
    let page = timeout(Duration::from_secs(60), async {
        loop {
            let page = site.page("/providers").await;
            if page.contains("(wrong 1)") && page.contains("<code>127.0.0.1</code> 1") {
                return page;
            }
            sleep(Duration::from_millis(500)).await;
        }
    });
    let page = page.await.expect("the logs have it");
    assert!(page.contains("Secret changed") && page.contains("nothing was refused"), "{page}");

    delete_all(&connections, &stack.verification_queue_url, 1, "console-triggered").await;

    // The command prints the address first, and serves the same.
    let mut command = callbacks_command(stack, &["console", "--no-open", "--port", &free_port().to_string()]);
    let mut command = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(command.stdout.take().unwrap()).lines();
    let address = timeout(Duration::from_secs(30), lines.next_line()).await.unwrap().unwrap().unwrap();
    let entered = site.http.get(&address).send().await.unwrap();
    assert!(entered.status() == 303 && address.starts_with("http://127.0.0.1:"), "{address}");
    command.kill().await.unwrap();

    // Its message is sent again, and dies.
    let subject = verification.split("subject=").nth(1).unwrap();
    let (_, page) = site.post("/again/replay", &[("subject", subject)]).await;
    assert!(page.contains("Replay 1 events"), "{page}");
    assert_eq!(counts(&connections, &stack.verification_queue_url).await, 1, "asked only");
    let (status, page) = site.post("/again/replay", &[("subject", subject), ("confirmed", "yes")]).await;
    assert!(status == 200 && page.contains("1 sent."), "{page}");
    let mut bodies = BTreeSet::new();
    for _ in 0..2 {
        for message in receive(&connections, &stack.verification_queue_url, Duration::from_secs(30)).await.unwrap() {
            bodies.insert(message.body().unwrap().to_owned());
            delete(&connections, &stack.verification_queue_url, &message).await.unwrap();
        }
    }
    assert_eq!(bodies.len(), 1, "word for word: {bodies:?}");
    let dead = connections.sqs.send_message().queue_url(&stack.verification_dead_letters_url);
    let dead = dead.message_body(bodies.first().unwrap()).message_group_id(subject).message_deduplication_id("dead");
    dead.send().await.unwrap();

    // It is looked at, and redriven.
    assert!(site.page("/queues").await.contains("Look into verdicts"));
    for _ in 0..2 {
        let (status, page) = site.post("/queues/look", &[("queue", "verdicts")]).await;
        assert!(status == 200 && page.contains("1 messages, the oldest sent 2") && page.contains(subject), "{page}");
    }
    assert_eq!(site.post("/queues/look", &[("queue", "others")]).await.0, 400);
    assert_eq!(counts(&connections, &stack.verification_dead_letters_url).await, 1, "looking moves nothing");
    let (_, page) = site.post("/queues/redrive", &[("queue", "verdicts"), ("message", "another")]).await;
    assert!(page.contains("0 sent, 0 stay"), "{page}");
    let (status, page) = site.post("/queues/redrive", &[("queue", "verdicts")]).await;
    assert!(status == 200 && page.contains("1 sent, 0 stay"), "{page}");
    let after = [&stack.verification_dead_letters_url, &stack.verification_queue_url];
    assert_eq!((counts(&connections, after[0]).await, counts(&connections, after[1]).await), (0, 1));
}

/// Deletes the messages about this subject, of which there are so many.
async fn delete_all(connections: &Connections, url: &str, count: usize, subject: &str) {
    let mut deleted = 0;
    while deleted < count {
        for message in receive(connections, url, Duration::from_secs(1)).await.unwrap() {
            let body: Value = serde_json::from_str(message.body().unwrap()).unwrap();
            if body["subject"] == subject {
                delete(connections, url, &message).await.unwrap();
                deleted += 1;
            }
        }
    }
    // The others are visible again.
    sleep(Duration::from_millis(1500)).await;
}

/// How many messages are visible in a queue.
async fn counts(connections: &Connections, url: &str) -> u32 {
    let wanted = connections.sqs.get_queue_attributes().queue_url(url).attribute_names(ApproximateNumberOfMessages);
    let attributes = wanted.send().await.unwrap().attributes.unwrap();
    attributes[&ApproximateNumberOfMessages].parse().unwrap()
}
