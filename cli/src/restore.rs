//! `callbacks restore`: what a restored copy of a table holds, back into the stack's own.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::AddAssign,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::put_item::PutItemError,
    types::{AttributeValue, KeysAndAttributes, TableStatus},
};
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use model::{CourseKey, Courses as _, Erasure, Part, StoredEvent, Timestamp};
use runtime::{DynamoCourses, DynamoErasures};
use serde_json::{Value, json};

use crate::{
    Target,
    erase::{Item, erasures, number, remains, row_without_recipients, text},
    events::{PAGE, is_unreadable},
    list::print,
    local::INTERRUPTED,
    selection::{now, time},
    step::{Interrupt, progress, step},
    terminal,
};

/// Put back events that the events table lost, from a restored copy of it.
///
/// The copy is another table of the account, as point-in-time recovery makes one. Each item is put as it is, if it is not
/// there: the parts of a body before their event. Nothing is overwritten, and what has expired stays out. What was deleted
/// on purpose comes back too; what was erased (`callbacks erase`) comes back without its payload.
///
/// What is put back comes in by the stream. The publisher sends again, word for word, what the row of its track holds.
/// Consumers drop that by its id. What no row holds is decided about again, and published with its id and a new sequence:
/// see with --dry-run how much that is. If rows were lost too, put them back first with --rows-from.
///
/// May be interrupted and repeated. Exits with 1 if not all was put back, and says how to go on; also if there is no event
/// in the copy, or if parts of a body are missing there too.
#[derive(Debug, Args)]
pub struct Restore {
    /// The restored copy of the events table.
    #[arg(long, value_name = "TABLE")]
    from: String,
    /// A restored copy of the verifications table, whose rows are put back before the events.
    #[arg(long, value_name = "TABLE")]
    rows_from: Option<String>,
    #[command(flatten)]
    target: Target,
    /// Only what was received from then on, such as 2026-01-31T12:00:00Z, or so long ago, such as 2h [default: all].
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only what was received before then.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Only of this verification: the provider's reference.
    #[arg(long)]
    subject: Option<String>,
    /// Only list what would be put back.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: with --dry-run an object an event, else one for all.
    #[arg(long)]
    json: bool,
}

/// An item's partition key and sort key.
type ItemKey = (String, String);

/// How many verifications are put back at the same time. The events of one are put in their order.
const AT_ONCE: usize = 16;

/// How long to wait after each attempt to put an item.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

impl Restore {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stack = self.target.resolve().await?;
        let connections = stack.connect().await;
        let dynamodb = connections.dynamodb.clone();
        let own = [stack.events_table.as_str(), &stack.verifications_table, &stack.expectations_table];
        for copy in [Some(&self.from), self.rows_from.as_ref()].into_iter().flatten() {
            check(&dynamodb, copy, &own).await?;
        }
        let erasures = erasures(&stack, &connections);
        let events = Copying { dynamodb: &dynamodb, from: &self.from, to: &stack.events_table, erasures: &erasures };
        let courses = DynamoCourses::new(dynamodb.clone(), stack.verifications_table.clone());
        let interrupt = Interrupt::listen();

        let mut rows = None;
        if let Some(from) = &self.rows_from {
            let copying = Copying { from, to: &stack.verifications_table, ..events };
            let put_back = step("putting back rows", self.put_back_rows(&copying, &interrupt)).await?;
            rows = Some(put_back);
        }
        let listing = format!("reading the keys of the events in {}", self.from);
        let (listed, expired) = step(&listing, self.list(&events, &interrupt)).await?;
        let progress =
            if self.dry_run { ProgressBar::hidden() } else { progress("compared and put back", listed.len()) };
        let (mut counts, mut left, mut stopped) = (Counts::default(), None, None);
        for page in listed.chunks(PAGE) {
            left = page.first();
            if interrupt.came() {
                break;
            }
            match self.put_back(&events, &courses, page).await {
                Ok(of_page) => counts += of_page,
                Err(error) => {
                    stopped = Some(error);
                    break;
                }
            }
            progress.inc(page.len() as u64);
            left = None;
        }
        progress.finish_and_clear();

        let go_on = left.map(Listed::go_on);
        if self.dry_run {
            eprintln!("{}", counts.text("would be put back", expired));
        } else if self.json {
            terminal::print_json(&counts.json(rows.as_ref(), expired, go_on.as_deref()))?;
        } else {
            let rows = rows.map(|rows| format!("{}\n", rows.rows_text())).unwrap_or_default();
            for line in (rows + &counts.text("put back", expired)).lines() {
                terminal::print(line);
            }
        }
        if interrupt.came() && listed.is_empty() {
            eprintln!("Interrupted before the first event: run it again.");
            return Ok(INTERRUPTED.into());
        }
        if let Some(go_on) = go_on {
            eprintln!("Not all was put back. What was received before is: go on with {}", terminal::harmless(&go_on));
        }
        if let Some(error) = stopped {
            return Err(error);
        }
        if listed.is_empty() && expired == 0 {
            eprintln!("There is no such event in {}: is it a copy of the events table?", self.from);
            return Ok(ExitCode::FAILURE);
        }
        Ok(match left {
            Some(_) => INTERRUPTED.into(),
            None if counts.incomplete > 0 => ExitCode::FAILURE,
            None => ExitCode::SUCCESS,
        })
    }

    /// The selected events of the copy, in the order in which they were received, and how many more of them have expired.
    /// Fewer if it is interrupted: then none.
    async fn list(&self, copying: &Copying<'_>, interrupt: &Interrupt) -> anyhow::Result<(Vec<Listed>, usize)> {
        const KEYS: &str = "pk, sk, received_at, provider, parts, expires_at";
        // Beside events, the table holds the parts of their bodies, which have no kind.
        const EVENTS: &str = "attribute_exists(kind)";
        let now = now().as_second();
        let text = |time: Option<Timestamp>| time.map(|time| format!("{time:.3}"));
        let (since, until) = (text(self.since), text(self.until));
        let is_selected = |listed: &Listed| {
            since.as_ref().is_none_or(|since| *since <= listed.received_at)
                && until.as_ref().is_none_or(|until| listed.received_at < *until)
        };
        let (mut listed, mut expired) = (Vec::new(), 0);
        let mut take = |item: Item| {
            let has_expired = has_expired(&item, now);
            match Listed::of(&item).filter(&is_selected) {
                Some(_) if has_expired => expired += 1,
                Some(event) => listed.push(event),
                None => {}
            }
        };
        let failed = || format!("failed to read {}", copying.from);
        if let Some(subject) = &self.subject {
            let query = copying.dynamodb.query().table_name(copying.from).projection_expression(KEYS);
            let query = query.filter_expression(EVENTS).key_condition_expression("pk = :subject");
            let query = query.expression_attribute_values(":subject", AttributeValue::S(subject.clone()));
            let mut items = query.into_paginator().items().send();
            while let Some(item) = items.next().await {
                take(item.with_context(failed)?);
            }
        } else {
            let scan = copying.dynamodb.scan().table_name(copying.from).projection_expression(KEYS);
            let mut items = scan.filter_expression(EVENTS).into_paginator().items().send();
            while let Some(item) = items.next().await {
                take(item.with_context(failed)?);
                if interrupt.came() {
                    return Ok((Vec::new(), 0));
                }
            }
        }
        listed.sort();
        Ok((listed, expired))
    }

    /// Puts back what is missing of these events, or lists it.
    async fn put_back(
        &self,
        copying: &Copying<'_>,
        courses: &DynamoCourses,
        page: &[Listed],
    ) -> anyhow::Result<Counts> {
        let missing = copying.missing(page.iter().map(|listed| listed.key.clone()).collect()).await?;
        let erased = copying.erased(page).await?;
        let with_parts = page.iter().filter(|listed| !erased.contains(&listed.key));
        let missing_parts = copying.missing(with_parts.flat_map(Listed::part_keys).collect()).await?;
        let mut items: BTreeMap<ItemKey, Item> = BTreeMap::new();
        let keys: Vec<ItemKey> = missing.into_iter().collect();
        for item in copying.items(&keys).await? {
            let Some(key) = key_of(&item) else { continue };
            let item = if erased.contains(&key) { remains(item, now())? } else { item };
            items.insert(key, item);
        }
        // As the publisher finds it: it decides as soon as an event is there.
        let decided_again = undecided(courses, items.values()).await?;
        let erased = items.keys().filter(|key| erased.contains(*key)).count();
        let mut counts = Counts { decided_again, there_already: page.len() - items.len(), erased, ..Counts::default() };
        if self.dry_run {
            for item in page.iter().filter_map(|listed| items.remove(&listed.key)) {
                self.print(item)?;
                counts.put_back += 1;
            }
            counts.parts = missing_parts.len();
            return Ok(counts);
        }

        let mut verifications: BTreeMap<&str, Vec<&Listed>> = BTreeMap::new();
        for listed in page {
            verifications.entry(&listed.key.0).or_default().push(listed);
        }
        let (items, missing_parts) = (&items, &missing_parts);
        let putting = verifications.into_values().map(async |verification| {
            let mut counts = Counts::default();
            for listed in verification {
                let parts: Vec<ItemKey> = listed.part_keys().filter(|key| missing_parts.contains(key)).collect();
                counts += copying.put_event(listed, &parts, items.get(&listed.key)).await?;
            }
            anyhow::Ok(counts)
        });
        let mut put = stream::iter(putting).buffer_unordered(AT_ONCE);
        while let Some(of_verification) = put.try_next().await? {
            counts += of_verification;
        }
        Ok(counts)
    }

    /// Puts back the rows that are missing, and what tokens stand for. A row that is there stays as it is: the publisher has
    /// begun it anew.
    async fn put_back_rows(&self, copying: &Copying<'_>, interrupt: &Interrupt) -> anyhow::Result<Counts> {
        let now = now().as_second();
        let is_selected = |key: &ItemKey| {
            let subject = key.0.split_once('#').map(|(_, subject)| subject);
            self.subject.is_none() || self.subject.as_deref() == subject
        };
        let scan = copying.dynamodb.scan().table_name(copying.from).projection_expression("pk, sk, expires_at");
        let mut items = scan.into_paginator().items().send();
        let mut keys = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.with_context(|| format!("failed to read {}", copying.from))?;
            keys.extend(key_of(&item).filter(|key| !has_expired(&item, now) && is_selected(key)));
        }
        let mut counts = Counts::default();
        for page in keys.chunks(PAGE) {
            if interrupt.came() {
                break;
            }
            let missing: Vec<ItemKey> = copying.missing(page.to_vec()).await?.into_iter().collect();
            counts.there_already += page.len() - missing.len();
            if self.dry_run {
                counts.put_back += missing.len();
                continue;
            }
            let rows = copying.without_what_is_erased(copying.items(&missing).await?).await?.into_iter();
            let mut put = stream::iter(rows.map(|row| copying.put(row))).buffer_unordered(AT_ONCE);
            while let Some(is_put) = put.try_next().await? {
                *(if is_put { &mut counts.put_back } else { &mut counts.there_already }) += 1;
            }
        }
        Ok(counts)
    }

    /// Prints an event that would be put back.
    fn print(&self, item: Item) -> anyhow::Result<()> {
        let id = text(&item, "sk").unwrap_or_default();
        match serde_dynamo::from_item::<_, StoredEvent>(item) {
            Ok(event) => return print(&event, None, self.json),
            Err(_) if self.json => terminal::print_json(&json!({ "id": id, "unreadable": true }))?,
            Err(_) => terminal::print(&format!("event {id}, which this version cannot read")),
        }
        Ok(())
    }
}

/// What became of a copy.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    /// Events or rows that were put.
    put_back: usize,
    /// Parts of bodies that were put.
    parts: usize,
    /// Events or rows that the stack's table holds.
    there_already: usize,
    /// Events that were put and that no row holds.
    decided_again: usize,
    /// Events of whose bodies the copy has not every part.
    incomplete: usize,
    /// Events that were put without their payload, since their verification is erased.
    erased: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.put_back += other.put_back;
        self.parts += other.parts;
        self.there_already += other.there_already;
        self.decided_again += other.decided_again;
        self.incomplete += other.incomplete;
        self.erased += other.erased;
    }
}

impl Counts {
    fn text(self, done: &str, expired: usize) -> String {
        let Self { put_back, parts, there_already, decided_again, incomplete, erased } = self;
        let mut text = format!("{put_back} events and {parts} parts of bodies {done}");
        if decided_again > 0 {
            text.push_str(&format!(" ({decided_again} that no row holds: decided about again)"));
        }
        text.push_str(&format!(", {there_already} there already, {expired} expired"));
        if incomplete > 0 {
            text.push_str(&format!(", {incomplete} without their whole body"));
        }
        if erased > 0 {
            text.push_str(&format!(", {erased} without the payload, which was erased"));
        }
        text + "."
    }

    fn rows_text(self) -> String {
        format!("{} rows put back, {} there already.", self.put_back, self.there_already)
    }

    fn json(self, rows: Option<&Self>, expired: usize, go_on: Option<&str>) -> Value {
        let rows = rows.map(|rows| json!({ "put_back": rows.put_back, "there_already": rows.there_already }));
        json!({
            "put_back": self.put_back, "parts": self.parts, "decided_again": self.decided_again,
            "there_already": self.there_already, "expired": expired, "incomplete": self.incomplete, "erased": self.erased,
            "rows": rows, "go_on_with": go_on,
        })
    }
}

/// An event of the copy, by what it is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    /// When it was received; such texts sort as the times do.
    received_at: String,
    key: ItemKey,
    /// In how many parts its body is.
    parts: u16,
    /// Whose it is.
    provider: String,
}

impl Listed {
    fn of(item: &Item) -> Option<Self> {
        let parts = number(item, "parts").and_then(|parts| parts.try_into().ok()).unwrap_or_default();
        let text = |name| text(item, name).unwrap_or_default();
        Some(Self { received_at: text("received_at"), key: key_of(item)?, parts, provider: text("provider") })
    }

    fn part_keys(&self) -> impl Iterator<Item = ItemKey> {
        (0..self.parts).map(|number| (Part::key(&self.key.1, number), Part::SORT_KEY.to_owned()))
    }

    /// How to go on with this event.
    fn go_on(&self) -> String {
        match self.received_at.as_str() {
            "" => format!("--since {}", Timestamp::UNIX_EPOCH),
            received_at => format!("--since {received_at}"),
        }
    }
}

/// From a copy of a table to the stack's own.
#[derive(Clone, Copy)]
struct Copying<'a> {
    dynamodb: &'a Client,
    from: &'a str,
    to: &'a str,
    erasures: &'a DynamoErasures,
}

impl Copying<'_> {
    /// Which of these items the stack's table does not hold. That costs far less than to put each, to be refused.
    async fn missing(&self, keys: Vec<ItemKey>) -> anyhow::Result<BTreeSet<ItemKey>> {
        let there = get(self.dynamodb, self.to, &keys, Some("pk, sk")).await?;
        let there: BTreeSet<ItemKey> = there.iter().filter_map(key_of).collect();
        Ok(keys.into_iter().filter(|key| !there.contains(key)).collect())
    }

    /// The keys of those of these events whose verifications are erased.
    async fn erased(&self, page: &[Listed]) -> anyhow::Result<BTreeSet<ItemKey>> {
        let entry = |listed: &Listed| Erasure::key_of(&listed.provider, &listed.key.0);
        let erased = self.entries_among(page.iter().map(entry).collect()).await?;
        Ok(page.iter().filter(|listed| erased.contains(&entry(listed))).map(|listed| listed.key.clone()).collect())
    }

    /// These rows, those of erased verifications without to whom something was delivered.
    async fn without_what_is_erased(&self, rows: Vec<Item>) -> anyhow::Result<Vec<Item>> {
        let entry = |row: &Item| {
            let key = text(row, "pk")?;
            key.split_once('#').map(|(provider, subject)| Erasure::key_of(provider, subject))
        };
        let erased = self.entries_among(rows.iter().filter_map(entry).collect()).await?;
        let is_erased = |row: &Item| entry(row).is_some_and(|entry| erased.contains(&entry));
        Ok(rows.into_iter().map(|row| if is_erased(&row) { row_without_recipients(row) } else { row }).collect())
    }

    async fn entries_among(&self, entries: BTreeSet<String>) -> anyhow::Result<BTreeSet<String>> {
        self.erasures.among(&entries).await.context("failed to read the list of erased verifications")
    }

    /// These items of the copy, whole.
    async fn items(&self, keys: &[ItemKey]) -> anyhow::Result<Vec<Item>> {
        get(self.dynamodb, self.from, keys, None).await
    }

    /// Puts an event that is missing after those parts of its body that are.
    async fn put_event(&self, listed: &Listed, parts: &[ItemKey], event: Option<&Item>) -> anyhow::Result<Counts> {
        let mut counts = Counts::default();
        let found = self.items(parts).await?;
        if found.len() < parts.len() {
            // Its verdict counts all the same.
            counts.incomplete = 1;
            let id = terminal::harmless(&listed.key.1);
            eprintln!("Event {id}: {} parts of its body are missing in {} too.", parts.len() - found.len(), self.from);
        }
        for part in found {
            counts.parts += usize::from(self.put(part).await?);
        }
        if let Some(event) = event {
            let is_put = self.put(event.clone()).await?;
            *(if is_put { &mut counts.put_back } else { &mut counts.there_already }) += 1;
        }
        Ok(counts)
    }

    /// Puts an item as it is, with patience. Returns false if there is one with its key: that one stays.
    async fn put(&self, item: Item) -> anyhow::Result<bool> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let put = self.dynamodb.put_item().table_name(self.to).set_item(Some(item.clone()));
            match put.condition_expression("attribute_not_exists(pk)").send().await {
                Ok(_) => return Ok(true),
                Err(SdkError::ServiceError(e))
                    if matches!(e.err(), PutItemError::ConditionalCheckFailedException(_)) =>
                {
                    return Ok(false);
                }
                Err(error) => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error).with_context(|| format!("failed to put an item into {}", self.to)),
                },
            }
        }
    }
}

/// Makes sure that a table is a copy that can be read.
async fn check(dynamodb: &Client, copy: &str, own: &[&str]) -> anyhow::Result<()> {
    if own.contains(&copy) {
        bail!("{copy} is the stack's own table: name a restored copy of it");
    }
    let described = match dynamodb.describe_table().table_name(copy).send().await {
        Ok(described) => described.table,
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
            bail!("there is no table {copy} in this account and region");
        }
        Err(error) => return Err(error).with_context(|| format!("failed to look at the table {copy}")),
    };
    let table = described.with_context(|| format!("the table {copy} is not described"))?;
    if table.table_status() != Some(&TableStatus::Active) {
        bail!("the table {copy} is not active yet: aws dynamodb wait table-exists --table-name {copy}");
    }
    let keys: Vec<&str> = table.key_schema().iter().map(|key| key.attribute_name()).collect();
    if keys != ["pk", "sk"] {
        bail!("{copy} is no copy: its items have other keys");
    }
    Ok(())
}

/// The items with these keys, all of them or these attributes, in any order.
async fn get(dynamodb: &Client, table: &str, keys: &[ItemKey], attributes: Option<&str>) -> anyhow::Result<Vec<Item>> {
    let mut found = Vec::new();
    for keys in keys.chunks(PAGE) {
        let key = |(pk, sk): &ItemKey| {
            let text = |text: &str| AttributeValue::S(text.to_owned());
            Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
        };
        let request = KeysAndAttributes::builder().set_keys(Some(keys.iter().map(key).collect()));
        let request = request.set_projection_expression(attributes.map(str::to_owned)).build()?;
        let mut requests = HashMap::from([(table.to_owned(), request)]);
        while !requests.is_empty() {
            let got = dynamodb.batch_get_item().set_request_items(Some(requests)).send().await;
            let got = got.with_context(|| format!("failed to read {table}"))?;
            let items: Vec<Item> = got.responses.into_iter().flatten().flat_map(|(_, items)| items).collect();
            requests = got.unprocessed_keys.unwrap_or_default();
            // An answer has 16 MB at most, so it is normal that keys are left. If it has nothing, the table is throttled.
            if items.is_empty() && !requests.is_empty() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            found.extend(items);
        }
    }
    Ok(found)
}

/// How many of these events no row holds: about those, the publisher decides again.
async fn undecided(courses: &DynamoCourses, items: impl Iterator<Item = &Item>) -> anyhow::Result<usize> {
    let course = |item| {
        let (provider, subject, track) = (text(item, "provider")?, text(item, "pk")?, text(item, "track")?);
        Some((CourseKey { provider, subject, track }, text(item, "sk")?))
    };
    let (keys, ids): (Vec<CourseKey>, Vec<String>) = items.filter_map(course).unzip();
    const READING: &str = "failed to read the verifications table";
    let rows = match courses.read(&keys).await {
        Ok(rows) => rows.into_iter().map(Some).collect(),
        Err(error) if is_unreadable(&error) => {
            // Which of them it is, is not said.
            let mut rows = Vec::new();
            for key in &keys {
                match courses.read(std::slice::from_ref(key)).await {
                    Ok(row) => rows.extend(row.into_iter().map(Some)),
                    Err(error) if is_unreadable(&error) => rows.push(None),
                    Err(error) => return Err(error).context(READING),
                }
            }
            rows
        }
        Err(error) => return Err(error).context(READING),
    };
    let is_undecided = |(row, id): &(Option<model::Course>, String)| {
        row.as_ref().is_some_and(|row| row.decisions.iter().all(|decision| decision.id != *id))
    };
    Ok(rows.into_iter().zip(ids).filter(is_undecided).count())
}

fn key_of(item: &Item) -> Option<ItemKey> {
    Some((text(item, "pk")?, text(item, "sk")?))
}

/// Whether DynamoDB would have deleted the item by now, or soon.
fn has_expired(item: &Item, now: i64) -> bool {
    number(item, "expires_at").is_some_and(|expires_at| expires_at <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(attributes: &[(&str, AttributeValue)]) -> Item {
        attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn s(text: &str) -> AttributeValue {
        AttributeValue::S(text.to_owned())
    }

    fn n(number: &str) -> AttributeValue {
        AttributeValue::N(number.to_owned())
    }

    #[test]
    fn events_are_put_back_in_the_order_in_which_they_were_received() {
        let listed = |received_at: &str, subject: &str| {
            Listed::of(&item(&[("pk", s(subject)), ("sk", s("id")), ("received_at", s(received_at))])).unwrap()
        };
        let (first, second) = ("2026-01-31T09:59:59.999Z", "2026-01-31T10:00:00.000Z");
        let mut events = [listed(second, "a"), listed(first, "b"), listed(second, "0")];
        events.sort();
        assert_eq!(events, [listed(first, "b"), listed(second, "0"), listed(second, "a")]);
        assert_eq!(events[0].go_on(), format!("--since {first}"));
        assert_eq!(Listed { received_at: String::new(), ..events[0].clone() }.go_on(), "--since 1970-01-01T00:00:00Z");
    }

    #[test]
    fn the_parts_of_a_body_are_found_by_their_event() {
        let event = item(&[("pk", s("subject")), ("sk", s("id")), ("parts", n("2"))]);
        let parts: Vec<ItemKey> = Listed::of(&event).unwrap().part_keys().collect();
        assert_eq!(parts, [("id#000", "part"), ("id#001", "part")].map(|(pk, sk)| (pk.to_owned(), sk.to_owned())));
        let whole = Listed::of(&item(&[("pk", s("subject")), ("sk", s("id"))])).unwrap();
        assert_eq!(whole.part_keys().count(), 0);
        assert_eq!(Listed::of(&item(&[("pk", s("subject"))])), None);
    }

    #[test]
    fn what_is_past_its_time_has_expired() {
        for (expires_at, has) in [(Some("99"), true), (Some("100"), true), (Some("101"), false), (None, false)] {
            let attributes = expires_at.map(|time| ("expires_at", n(time)));
            assert_eq!(has_expired(&item(attributes.as_slice()), 100), has, "{expires_at:?}");
        }
    }

    #[test]
    fn a_summary_says_what_consumers_may_hear_anew() {
        let counts = Counts { put_back: 3, parts: 2, there_already: 4, ..Counts::default() };
        assert_eq!(counts.text("put back", 1), "3 events and 2 parts of bodies put back, 4 there already, 1 expired.");
        let counts = Counts { decided_again: 1, incomplete: 1, ..counts };
        assert_eq!(
            counts.text("would be put back", 0),
            "3 events and 2 parts of bodies would be put back (1 that no row holds: decided about again), 4 there \
             already, 0 expired, 1 without their whole body."
        );
    }
}
