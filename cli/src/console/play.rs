//! The page to play a provider, on the local stack: samples, and what comes of them.

use std::sync::Arc;

use anyhow::Context as _;
use axum::{body::Bytes, extract::State};
use maud::{Markup, html};

use super::{
    fields::{Fields, address},
    page::{self, Answer, Problem, lines, text},
    server::Shared,
};
use crate::{
    project_root,
    sample::{By, Sample},
    selection::now,
    send::{Played, Player},
};

/// The samples that can be sent over HTTP.
fn samples() -> anyhow::Result<Vec<Sample>> {
    let mut samples = Sample::all(&project_root()?)?;
    samples.retain(|sample| sample.expect.send == By::Http);
    Ok(samples)
}

fn local_only(console: &Shared) -> Result<(), Problem> {
    match console.is_local() {
        true => Ok(()),
        false => Err(Problem::missing("Samples are sent to the local stack only.")),
    }
}

pub(super) async fn page(State(console): State<Arc<Shared>>) -> Answer {
    local_only(&console)?;
    let content = form(&samples()?, None);
    Ok(page::page(&console, "Send", "/play", &content))
}

fn form(samples: &[Sample], chosen: Option<&str>) -> Markup {
    html! {
        p { "Send a sample from events/ to the local stack, as its provider would." }
        form.line method="post" action="/play" {
            label { "Sample "
                select name="sample" {
                    @for name in samples.iter().map(Sample::name) {
                        option value=(name) selected[chosen == Some(&name)] { (name) }
                    }
                }
            }
            label { "About "
                select name="about" {
                    option value="fresh" { "a new verification" }
                    option value="own" { "the sample's own verification" }
                }
            }
            label { "or about this subject " input name="subject" size="24" autocomplete="off"; }
            label { "with this field " input name="set" size="28" placeholder="/data/result=VERIFIED" autocomplete="off"; }
            button.does { "Send" }
        }
    }
}

/// The sample as it is asked for, as `callbacks send` changes it.
fn changed(sample: Sample, fields: &Fields) -> anyhow::Result<Sample> {
    let name = sample.name();
    let sample = match fields.get("subject") {
        Some(subject) => sample.about(subject).with_context(|| format!("{name} does not name its subject"))?,
        None if fields.get("about") == Some("own") || sample.expect.event.is_none() => sample,
        None => sample.fresh(&format!("console-{}", now().as_millisecond()))?,
    };
    match fields.get("set") {
        None => Ok(sample),
        Some(set) => {
            let (field, value) =
                set.split_once('=').context("a field is FIELD=VALUE, such as /data/result=VERIFIED")?;
            sample.with_field(field, value)
        }
    }
}

pub(super) async fn send(State(console): State<Arc<Shared>>, body: Bytes) -> Answer {
    local_only(&console)?;
    let fields = Fields::parse(&body);
    let name = fields.need("sample")?;
    let samples = samples()?;
    let sample = samples.iter().find(|sample| sample.name() == name);
    let sample = sample.ok_or_else(|| Problem::missing("There is no such sample."))?.clone();
    let sample = changed(sample, &fields)?;
    let Played { sample, answer, came_to } = Player::of(&console.stack).await?.play(sample).await?;
    let subject = sample.expect.event.as_ref().map(|event| event.subject.clone());
    // What a changed field comes to is not in the file.
    let as_expected = sample.expects(&answer) || fields.get("set").is_some();
    let body = serde_json::to_string_pretty(&answer.body).context("failed to show the answer")?;
    let content = html! {
        p.good[as_expected] .warning[!as_expected] role="status" {
            strong { (text(name)) } ": answered " (answer.status)
            @if !as_expected { ", which is not what the file expects" }
            @if let Some(came_to) = came_to { ", and it was " (came_to.code()) }
            "."
        }
        (lines(&body))
        @if let Some(subject) = subject.filter(|_| answer.status == 200) {
            p { a href=(address("/verification", [("subject", subject.as_str())])) { "What came of it" } }
        }
        (form(&samples, Some(name)))
    };
    Ok(page::page(&console, "Send", "/play", &content))
}
