//! The commands that the documents show.

use std::path::{Path, PathBuf};

/// A block of commands in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The document, from the project's folder on.
    pub document: String,
    /// The commands, without what they print.
    pub commands: String,
}

/// A block that a test runs which is not about documents: document, how the block begins, file and name of the test.
pub const RUN_ELSEWHERE: [(&str, &str, &str, &str); 12] = [
    (
        "docs/erasure.md",
        "callbacks erase SUBJECT",
        "erase.rs",
        "nothing_personal_is_left_of_an_erased_verification_and_nothing_comes_back",
    ),
    ("docs/deploying.md", "VERSION=", "looking.rs", "a_release_is_installed_as_documented"),
    ("README.md", "cargo callbacks local --detach", "consumers.rs", "the_first_message_takes_four_commands"),
    ("examples/python/README.md", "python3 -m venv", "consumers.rs", "consumers_do_what_their_readmes_say"),
    (
        "examples/python/README.md",
        "target/python/example/bin/python examples/python/consumer.py",
        "consumers.rs",
        "the_first_message_takes_four_commands",
    ),
    (
        "examples/python/README.md",
        "target/python/example/bin/python examples/python/sender.py",
        "consumers.rs",
        "passwords_are_sent_once_or_not_at_all",
    ),
    (
        "examples/python/README.md",
        "target/python/example/bin/python examples/python/payload.py",
        "consumers.rs",
        "payloads_are_fetched_as_they_came",
    ),
    (
        "examples/rust/README.md",
        "cargo run --quiet --bin example-consumer",
        "consumers.rs",
        "the_first_message_takes_four_commands",
    ),
    (
        "examples/rust/README.md",
        "cargo run --quiet --bin example-payload",
        "consumers.rs",
        "payloads_are_fetched_as_they_came",
    ),
    ("examples/typescript/README.md", "npm ", "consumers.rs", "consumers_do_what_their_readmes_say"),
    (
        "examples/typescript/README.md",
        "node examples/typescript/consumer.ts",
        "consumers.rs",
        "the_first_message_takes_four_commands",
    ),
    (
        "examples/typescript/README.md",
        "node examples/typescript/payload.ts",
        "consumers.rs",
        "payloads_are_fetched_as_they_came",
    ),
];

/// A block that no test runs: document, how the block begins, and why.
pub const NOT_RUN: [(&str, &str, &str); 9] = [
    ("README.md", "cargo callbacks demo", "the tests of the local stack run the demo"),
    ("README.md", "sam build\n", "it deploys to an account"),
    ("docs/deploying.md", "sam build\n", "it deploys to an account"),
    ("docs/local.md", "cargo callbacks demo", "a test cannot run all tests; the tests of the local stack run the demo"),
    (
        "docs/local.md",
        "cargo callbacks local --bind",
        "it needs Docker; `cargo callbacks sam-local` runs the same in CI",
    ),
    ("bench/peers/README.md", "bench/peers/install", "it measures for minutes"),
    (
        "docs/providers/onfido.md",
        "read -rs API_TOKEN",
        "the local stack does not play Onfido, so it has no secret for asking",
    ),
    (
        "docs/providers/veriff.md",
        "read -rs API_KEY",
        "the local stack does not play Veriff, so it has no secret for asking",
    ),
    ("docs/aws.md", "kept() {", "it deletes what a failed deployment left in an account"),
];

/// Every Markdown file of the project.
///
/// # Panics
/// If one cannot be read.
#[must_use]
pub fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    list(&cli::project_root().unwrap(), &mut found);
    found.sort();
    found
}

fn list(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            list(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The blocks of commands in all documents, in their order.
///
/// # Panics
/// If a document cannot be read.
#[must_use]
pub fn blocks() -> Vec<Block> {
    let root = cli::project_root().unwrap();
    let mut blocks = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        let name = document.strip_prefix(&root).unwrap().display().to_string();
        for fenced in
            text.split("\n```").skip(1).step_by(2).map(|fenced| fenced.split_once('\n').unwrap_or((fenced, "")))
        {
            let commands = match fenced {
                ("sh", commands) => commands.to_owned(),
                ("console", lines) => typed(lines),
                _ => continue,
            };
            blocks.push(Block { document: name.clone(), commands });
        }
        // In a list, they are indented.
        for fenced in text.split("\n  ```sh\n").chain(text.split("\n     ```sh\n")).filter(|part| *part != text) {
            let Some((commands, _)) = fenced.split_once("```") else { continue };
            if commands.lines().all(|line| line.trim().is_empty() || line.starts_with("  ")) {
                blocks.push(Block { document: name.clone(), commands: commands.to_owned() });
            }
        }
    }
    blocks
}

/// What is typed in a transcript: behind `$ `, and what goes on from there.
fn typed(transcript: &str) -> String {
    let mut commands = String::new();
    for line in transcript.lines() {
        let goes_on = commands.ends_with("\\\n") || commands.matches('\'').count() % 2 == 1;
        match line.strip_prefix("$ ") {
            Some(command) => commands += command,
            None if goes_on => commands += line,
            None => continue,
        }
        commands.push('\n');
    }
    commands
}

/// The calls of `callbacks` in commands, each as one line without what it is piped into.
#[must_use]
pub fn calls(commands: &str) -> Vec<String> {
    let mut joined = commands.replace("\\\n", " ");
    // Whatever that is, it is a text.
    while let Some((before, rest)) = joined.split_once("$(output ") {
        joined = format!("{before}OUTPUT{}", rest.split_once(')').unwrap_or_default().1);
    }
    let mut found = Vec::new();
    for line in joined.lines() {
        let mut rest = line;
        while let Some(at) = rest.find("callbacks ") {
            let before = rest[..at].trim_end_matches("cargo ").trim_end();
            let call = &rest[at..];
            let end =
                [" | ", " |", " && ", " || ", ";", ")", " >", "  #"].iter().filter_map(|end| call.find(end)).min();
            let (call, after) = call.split_at(end.unwrap_or(call.len()));
            if before.is_empty() || before.ends_with(['|', '&', ';', '(', '`']) {
                found.push(call.trim().to_owned());
            }
            rest = after;
        }
    }
    found
}

/// The calls of `callbacks` in code spans of prose.
#[must_use]
pub fn spans(text: &str) -> Vec<String> {
    // Not those of a block.
    let prose: Vec<&str> = text.split("```").step_by(2).collect();
    let spans = prose.iter().flat_map(|prose| prose.split('`').skip(1).step_by(2));
    let calls = spans.filter_map(|span| span.strip_prefix("cargo ").unwrap_or(span).strip_prefix("callbacks "));
    let line = |call: &str| {
        let call = call.split([';', '|', '>']).next().unwrap_or_default();
        call.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    calls.map(|call| format!("callbacks {}", line(call))).collect()
}

/// The same call with something in place of each placeholder.
#[must_use]
pub fn with_values(call: &str) -> String {
    let mut call = call.to_owned();
    for (placeholder, value) in [
        ("…", ""),
        ("${P}", "jumio"),
        ("$P", "jumio"),
        ("PROVIDER", "jumio"),
        ("KIND", "jumio"),
        ("TIME", "1h"),
        ("SHELL", "bash"),
        ("FIELD", "field"),
        ("ADDRESS", "127.0.0.1"),
        ("QUEUE", "verdicts"),
    ] {
        call = call.replace(placeholder, value);
    }
    call
}
