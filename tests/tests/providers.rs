//! What docs/providers/ says of each provider is so: its tables are driven through the functions, row by row.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    path::PathBuf,
    sync::LazyLock,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cli::sample::Sample;
use model::{MemoryStore, StoredEvent};
use providers::{REGISTRATIONS, registration};
use serde_json::{Map, Value};
use tests::{
    FUNCTIONS, answer, contract::MESSAGE_KINDS, local_time, made, samples, template::everything_on, with_body,
};

/// The pages, and the functions that each is about.
static PAGES: LazyLock<BTreeMap<String, Vec<&str>>> = LazyLock::new(|| {
    let mut pages: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for registration in &REGISTRATIONS {
        pages.entry(made::page(registration)).or_default().push(registration.function);
    }
    pages
});

/// Compares what a document says with what is so, and names only what differs.
#[track_caller]
fn assert_same<T: Ord + Debug>(said: &BTreeSet<T>, so: &BTreeSet<T>, where_: &str) {
    let (missing, wrong): (Vec<_>, Vec<_>) = (so.difference(said).collect(), said.difference(so).collect());
    assert!(missing.is_empty() && wrong.is_empty(), "{where_}: {missing:?} are missing, {wrong:?} are wrong");
}

const STATUS_TABLE: [&str; 5] = ["sample", "with", "kind", "outcome", "reasons"];
/// What an answer of a provider becomes. It can have an outcome that no callback has.
const FETCHED_TABLE: [&str; 4] = ["answer", "kind", "outcome", "reasons"];
const DETAILS_TABLE: [&str; 3] = ["detail", "kinds", "what it is"];
const FACTS_TABLE: [&str; 2] = ["", ""];
const TOKEN_TABLE: [&str; 2] = ["reason", "the token"];

fn read(file: &str) -> String {
    std::fs::read_to_string(cli::project_root().unwrap().join(file)).unwrap()
}

fn page(name: &str) -> String {
    read(&format!("docs/providers/{name}"))
}

/// The cells of a line that is a row of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    Some(line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect())
}

/// The rows of all tables of a page that have this header.
fn rows<'a>(page: &'a str, header: &[&str]) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if cells(line).is_some_and(|cells| cells == header) {
            let ruler = lines.next().and_then(cells).unwrap();
            assert!(ruler.len() == header.len() && ruler.iter().all(|cell| *cell == "---"), "{line}");
            found.extend(lines.by_ref().map_while(cells).inspect(|row| assert_eq!(row.len(), header.len(), "{row:?}")));
        }
    }
    found
}

/// The code spans of a text.
fn spans(text: &str) -> Vec<&str> {
    assert_eq!(text.matches('`').count() % 2, 0, "{text}");
    text.split('`').skip(1).step_by(2).collect()
}

/// A text that is one code span.
fn span(text: &str) -> &str {
    match spans(text).as_slice() {
        [one] if text.len() == one.len() + 2 => one,
        other => panic!("{text}: {other:?}"),
    }
}

/// What a callback turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Turnout {
    kind: String,
    outcome: String,
    reasons: Vec<String>,
    unrecognized: Option<String>,
}

impl From<StoredEvent> for Turnout {
    fn from(event: StoredEvent) -> Self {
        let outcome = event.outcome.as_str().to_owned();
        Self { kind: event.kind, outcome, reasons: event.reasons, unrecognized: event.unrecognized }
    }
}

/// What a row does to a field of its sample. The field is given as a path.
#[derive(Debug, Clone)]
struct Change<'a> {
    path: Vec<&'a str>,
    /// None if the field is taken away.
    value: Option<&'a str>,
}

impl Change<'_> {
    fn make(&self, body: &mut Body) {
        match body {
            Body::Json(object) => change(object, &self.path, self.value.map(json)),
            Body::Form(fields) => match self.path.as_slice() {
                [name] => {
                    fields.retain(|(other, _)| other != name);
                    fields.extend(self.value.map(|value| ((*name).to_owned(), value.to_owned())));
                }
                [name, path @ ..] => {
                    let found = fields.iter_mut().find(|(other, _)| other == name);
                    let (_, text) = found.unwrap_or_else(|| panic!("the sample has no {name}"));
                    // A field that another variant of the row has made a text has nothing in it to be changed.
                    let Ok(mut object) = serde_json::from_str::<Map<String, Value>>(text) else { return };
                    change(&mut object, path, self.value.map(json));
                    *text = Value::from(object).to_string();
                }
                [] => panic!("a field has a name"),
            },
        }
    }
}

/// A value as the pages write it: JSON, or a text without its quotes.
fn json(value: &str) -> Value {
    serde_json::from_str(value).unwrap_or_else(|_| value.into())
}

fn change(object: &mut Map<String, Value>, path: &[&str], value: Option<Value>) {
    match (path, value) {
        ([name], Some(value)) => {
            object.insert((*name).to_owned(), value);
        }
        ([name], None) => {
            object.remove(*name);
        }
        ([name, path @ ..], value) => {
            let inner = object.get_mut(*name).unwrap_or_else(|| panic!("the sample has no {name}"));
            change(inner.as_object_mut().unwrap(), path, value);
        }
        ([], _) => panic!("a field has a name"),
    }
}

/// A callback's body, to be changed.
enum Body {
    Json(Map<String, Value>),
    Form(Vec<(String, String)>),
}

impl Body {
    fn of(sample: &Sample) -> Self {
        let event: Value = serde_json::from_str(&sample.text).unwrap();
        let body = event["body"].as_str().unwrap();
        let is_base64 = event["isBase64Encoded"] == true;
        let body = if is_base64 { BASE64.decode(body).unwrap() } else { body.as_bytes().to_vec() };
        match serde_json::from_slice(&body) {
            Ok(object) => Self::Json(object),
            Err(_) => Self::Form(form_urlencoded::parse(&body).into_owned().collect()),
        }
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Json(object) => Value::from(object).to_string().into_bytes(),
            Self::Form(fields) => {
                form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes()
            }
        }
    }
}

/// One row of a page's tables.
struct Row<'a> {
    page: &'a str,
    sample: Sample,
    changes: Vec<Change<'a>>,
    expected: Turnout,
}

impl<'a> Row<'a> {
    fn read(page: &'a str, samples: &BTreeMap<String, Sample>, cells: &[&'a str]) -> Self {
        let [sample, with, kind, outcome, reasons] = cells else { panic!("{cells:?}") };
        let name = |text: &str| {
            let (name, target) = text.strip_prefix('[')?.strip_suffix(".json)")?.split_once("](../../events/")?;
            target.ends_with(&format!("/{name}")).then(|| target.to_owned())
        };
        let name = name(sample).unwrap_or_else(|| panic!("{page}: {sample} is no link to a sample by its name"));
        let sample = samples.get(&name).unwrap_or_else(|| panic!("{page}: there is no sample {name}")).clone();

        let mut changes = Vec::new();
        let pieces: Vec<&str> = with.split('`').collect();
        assert!(pieces.len() % 2 == 1 && pieces.len() > 1, "{page}: {with}");
        for (index, field) in pieces.iter().enumerate().skip(1).step_by(2) {
            let (path, value) = match (pieces[index - 1].trim_start_matches(',').trim(), field.split_once('=')) {
                ("", Some((path, value))) => (path, Some(value)),
                ("no", None) => (*field, None),
                _ => panic!("{page}: {with}"),
            };
            changes.push(Change { path: path.split('.').collect(), value });
        }
        assert!(pieces.last().unwrap().is_empty(), "{page}: {with}");

        let (reasons, unrecognized) = match reasons.strip_prefix("unrecognized: ") {
            Some(reason) => (Vec::new(), Some(span(reason).to_owned())),
            None => (spans(reasons).into_iter().map(str::to_owned).collect(), None),
        };
        let (kind, outcome) = (span(kind).to_owned(), span(outcome).to_owned());
        Self { page, sample, changes, expected: Turnout { kind, outcome, reasons, unrecognized } }
    }

    fn name(&self) -> String {
        format!("{}: {} with {:?}", self.page, self.sample.name(), self.changes)
    }

    /// What comes of the sample with these changes, and what is answered.
    async fn send(&self, changes: &[Change<'_>]) -> (Option<Turnout>, i64, String) {
        let mut body = Body::of(&self.sample);
        changes.iter().for_each(|change| change.make(&mut body));
        let event = with_body(&self.sample, &body.bytes()).to_string();
        let store = MemoryStore::default();
        let response = answer(&self.sample.function, &store, &event, local_time()).await.unwrap();
        let text = String::from_utf8(response.body.unwrap().as_ref().to_vec()).unwrap();
        (store.events().pop().map(Turnout::from), response.status_code, text)
    }

    /// What comes of the row if this of its fields is taken away, is another one, or stays as it is in the sample.
    async fn without(&self, index: usize) -> Vec<Option<Turnout>> {
        let replaced = |value| {
            let mut changes = self.changes.clone();
            changes[index].value = value;
            changes
        };
        let mut unchanged = self.changes.clone();
        unchanged.remove(index);
        let mut turnouts = Vec::new();
        for changes in [replaced(None), replaced(Some("example")), unchanged] {
            turnouts.push(self.send(&changes).await.0);
        }
        turnouts
    }
}

/// Does something with every row of the status tables of every page.
fn for_each_row(mut with: impl AsyncFnMut(Row<'_>)) {
    let samples: BTreeMap<String, Sample> = samples().into_iter().map(|sample| (sample.name(), sample)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for (name, functions) in &*PAGES {
        let text = page(name);
        let rows = rows(&text, &STATUS_TABLE);
        assert!(!rows.is_empty(), "docs/providers/{name} has no table {STATUS_TABLE:?}");
        // A row that no table has is one that nobody reads.
        let links = text.matches("](../../events/").count();
        assert_eq!(
            links,
            rows.len(),
            "docs/providers/{name} has links to samples outside of its table {STATUS_TABLE:?}"
        );
        for cells in rows {
            let row = Row::read(name, &samples, &cells);
            assert!(functions.contains(&row.sample.function.as_str()), "{}", row.name());
            runtime.block_on(with(row));
        }
    }
}

#[test]
fn every_row_of_every_page_turns_out_as_it_says() {
    for_each_row(async |row| {
        let (turnout, status, _) = row.send(&row.changes).await;
        assert_eq!((turnout.as_ref(), status), (Some(&row.expected), 200), "{}", row.name());
    });
}

#[test]
fn every_field_that_a_row_names_makes_a_difference() {
    for_each_row(async |row| {
        for index in 0..row.changes.len() {
            let turnouts = row.without(index).await;
            let differs = turnouts.iter().any(|turnout| turnout.as_ref() != Some(&row.expected));
            assert!(differs, "{}: number {index} decides nothing", row.name());
        }
    });
}

#[test]
fn the_answer_of_every_page_is_what_the_provider_gets() {
    for_each_row(async |row| {
        let (_, status, body) = row.send(&row.changes).await;
        let text = page(row.page);
        let facts = rows(&text, &FACTS_TABLE);
        let fact = |name: &str| facts.iter().find(|row| row[0] == name).unwrap()[1];
        assert_eq!(fact("answer"), format!("{status} and `{body}`"), "{}", row.page);
        // Under the address that the sample came by.
        let event: Value = serde_json::from_str(&row.sample.text).unwrap();
        assert!(spans(fact("address")).contains(&event["routeKey"].as_str().unwrap()), "{}", row.page);
    });
}

#[test]
fn the_time_limit_of_every_page_is_that_of_its_functions() {
    let mut functions = BTreeSet::new();
    for (name, of_page) in &*PAGES {
        let text = page(name);
        let facts = rows(&text, &FACTS_TABLE);
        let within = facts.iter().find(|row| row[0] == "within").unwrap()[1];
        for function in of_page {
            let seconds = registration(function).unwrap().answer_within.as_secs();
            assert_eq!(within, format!("{seconds} s"), "{name}");
            functions.insert(*function);
        }
    }
    assert_eq!(functions, BTreeSet::from(FUNCTIONS));
}

/// The kinds and outcomes that the pages say an answer of a provider has. Callbacks may never have them.
pub(crate) fn fetched_outcomes() -> BTreeSet<(String, String)> {
    let mut outcomes = BTreeSet::new();
    for (name, functions) in &*PAGES {
        let of_page = functions.iter().map(|function| registration(function).unwrap());
        let asked: Vec<&str> = of_page.filter(|one| one.settings.retrieval.is_some()).map(|one| one.provider).collect();
        for row in rows(&page(name), &FETCHED_TABLE) {
            let (kind, outcome) = (span(row[1]), span(row[2]));
            let (provider, _) = kind.split_once('.').unwrap();
            assert!(asked.contains(&provider), "{name}: {row:?}");
            outcomes.insert((kind.to_owned(), outcome.to_owned()));
        }
    }
    outcomes
}

#[test]
fn every_kind_is_in_a_page_with_every_outcome_that_it_has() {
    let mut in_pages = BTreeSet::new();
    for_each_row(async |row| {
        in_pages.insert((row.expected.kind, row.expected.outcome));
    });
    in_pages.extend(fetched_outcomes());
    // That a verdict is overdue is no callback.
    let is_callback = |name: &String| !name.ends_with(".overdue");
    let declared = MESSAGE_KINDS
        .iter()
        .filter(|(name, _)| is_callback(name))
        .flat_map(|(name, kind)| kind.outcomes.iter().map(|outcome| (name.clone(), (*outcome).to_owned())));
    assert_same(&in_pages, &declared.collect(), "kinds and outcomes in the tables of docs/providers/");

    // And so is every schema, whatever this version of the types declares.
    let kinds: BTreeSet<String> = in_pages.into_iter().map(|(kind, _)| kind).collect();
    let schemas = std::fs::read_dir(cli::project_root().unwrap().join("docs/contract/schemas")).unwrap();
    let schemas = schemas.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let schemas: BTreeSet<String> = schemas
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .filter(|name| name != "message" && is_callback(name))
        .collect();
    assert_same(&kinds, &schemas, "kinds with a schema in the tables of docs/providers/");
}

#[test]
fn the_details_of_every_page_are_those_of_the_messages() {
    let mut in_pages: BTreeSet<(String, String)> = BTreeSet::new();
    for name in PAGES.keys() {
        for row in rows(&page(name), &DETAILS_TABLE) {
            for kind in spans(row[1]) {
                let is_new = in_pages.insert((kind.to_owned(), span(row[0]).to_owned()));
                assert!(is_new, "{name}: {row:?}");
            }
        }
    }
    let mut of_messages: BTreeSet<(String, String)> = BTreeSet::new();
    for (name, kind) in MESSAGE_KINDS.iter() {
        let details = &kind.schema["properties"]["data"]["properties"]["details"];
        let required = details["required"].as_array().cloned().unwrap_or_default();
        // What `MessageDetail=full` adds is said elsewhere.
        let names = details["properties"].as_object().into_iter().flat_map(Map::keys);
        for detail in names.filter(|name| *name != "payload_omitted") {
            let is_required = required.iter().any(|name| name == detail);
            let detail = if is_required { detail.clone() } else { format!("{detail}?") };
            of_messages.insert((name.clone(), detail));
        }
    }
    assert_same(&in_pages, &of_messages, "kinds and details in the tables of docs/providers/");
}

#[test]
fn every_reason_not_to_trust_a_token_is_in_the_wallets_page() {
    let page = page("wallet-gateway.md");
    let rows = rows(&page, &TOKEN_TABLE);
    let in_page: BTreeSet<&str> = rows.iter().map(|row| span(row[0])).collect();
    let source = read("functions/wallet-verification/src/token.rs");
    let (_, codes) = source.split_once("fn code(self)").unwrap();
    let codes = codes.split_once("\n    }\n").unwrap().0;
    let codes: BTreeSet<&str> = codes.split('"').skip(1).step_by(2).collect();
    assert!(codes.len() > 10 && rows.len() == codes.len());
    assert_eq!(in_page, codes);
}

#[test]
fn every_sample_that_a_page_sends_exists_and_is_for_its_function() {
    for (name, functions) in &*PAGES {
        let text = page(name);
        let sends = text.lines().filter_map(|line| line.strip_prefix("cargo callbacks send "));
        let sent: Vec<PathBuf> = sends.flat_map(str::split_whitespace).map(PathBuf::from).collect();
        assert!(!sent.is_empty(), "{name}");
        for file in &sent {
            assert!(cli::project_root().unwrap().join(file).is_file(), "{name} sends {}", file.display());
        }
        let of_functions: BTreeSet<&str> =
            sent.iter().map(|file| file.iter().nth(1).unwrap().to_str().unwrap()).collect();
        assert_eq!(of_functions, functions.iter().copied().collect(), "{name}");
    }
}

#[tokio::test]
async fn every_output_and_parameter_that_a_page_names_is_in_the_template() {
    let template = everything_on().await;
    let mut asked = 0;
    let mut check = |name: &str, page: &str| {
        let is_there = ["Outputs", "Parameters"].iter().any(|section| template[section].get(name).is_some());
        assert!(is_there, "{page}: {name}");
        asked += 1;
    };
    // Like `DomainName`: there are no other words of two words in spans.
    let is_name = |text: &str| {
        let capitals = text.chars().filter(char::is_ascii_uppercase).count();
        text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.chars().all(|c| c.is_ascii_alphabetic())
            && capitals > 1
            && capitals < text.len()
    };
    for name in PAGES.keys().map(String::as_str).chain(["README.md"]) {
        let text = page(name);
        // Outside of blocks of commands.
        let prose: String = text.split("```").step_by(2).collect();
        for span in spans(&prose) {
            match span.strip_prefix("output ") {
                Some(output) => check(output, name),
                None if is_name(span) => check(span, name),
                None => {}
            }
        }
        for command in text.split("$(output ").skip(1) {
            check(command.split_once(')').unwrap().0, name);
        }
    }
    assert!(asked > 30, "{asked}");
}

#[test]
fn the_index_leads_to_every_page_and_there_is_no_other() {
    let folder = std::fs::read_dir(cli::project_root().unwrap().join("docs/providers")).unwrap();
    let files: BTreeSet<String> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let pages = PAGES.keys().cloned();
    assert_same(&files, &pages.chain(["README.md".to_owned()]).collect(), "pages in docs/providers/");
    let index = page("README.md");
    for (name, functions) in &*PAGES {
        for function in functions {
            let is_row = |line: &str| line.contains(&format!("]({name})")) && spans(line).contains(function);
            assert!(index.lines().any(is_row), "docs/providers/README.md does not lead to {name} for {function}");
        }
    }
}
