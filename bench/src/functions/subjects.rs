//! What is measured: our functions, the floors below them, and the peers beside them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use cli::sample::{Expect, Sample};
use serde::Serialize;
use serde_json::json;

use super::{
    process::Program,
    services::secret_arn,
    stub::Stub,
    workload::{Outcome, Source},
};

/// What a subject of measurement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// One of functions/.
    Function,
    /// As little as can be done.
    Floor,
    /// What a user would write instead.
    Peer,
}

/// One thing that is measured.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// How it is called in the report and by `--only`.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) program: Program,
    /// What is deployed: a binary, or a folder.
    pub(crate) artifact: PathBuf,
    pub(crate) source: Source,
    pub(crate) outcomes: Vec<Outcome>,
    /// The function whose events it is given.
    function: String,
    /// Whether it looks a code up before it keeps anything.
    looks_up: bool,
}

/// The names of the tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables {
    pub(crate) events: &'static str,
    pub(crate) verifications: &'static str,
    pub(crate) expectations: &'static str,
    pub(crate) idempotency: &'static str,
}

/// The tables of all runs.
pub(crate) const TABLES: Tables = Tables {
    events: "events",
    verifications: "verifications",
    expectations: "expectations",
    idempotency: "idempotency",
};

/// The gateway whose tokens are trusted.
pub(crate) const ISSUER: &str = "https://wallet-gateway.example.com";

/// The samples that are measured of a provider: new, refused, not understood. Of one that is not listed, it is the first
/// approval, and so on.
const SAMPLES: [(&str, &str, &str, &str); 6] = [
    ("identomat", "session-change-approved", "refused-wrong-key", "unknown-type"),
    ("jumio", "netverify-approved", "refused-wrong-secret", "unknown-status"),
    ("signicat", "accepted", "refused-wrong-header", "unknown-status"),
    ("verifyvasp", "verification-result-verified", "refused-wrong-token", "unknown-result"),
    ("wallet-issuance", "issued", "refused-unknown-code", "missing-status"),
    ("wallet-verification", "approved", "refused-unknown-code", "no-tokens"),
];

/// The peers: the language, and whose work they do.
const PEERS: [(&str, &str); 4] = [
    ("python", "verifyvasp"),
    ("typescript", "verifyvasp"),
    ("python", "wallet-verification"),
    ("typescript", "wallet-verification"),
];

/// Everything there is to measure, with the binaries in this folder.
pub(crate) fn all(root: &Path, binaries: &Path) -> anyhow::Result<Vec<Subject>> {
    use Outcome::{Alone, Fresh, Refused, Repeat, Unrecognized};
    let samples = Sample::all(root)?;
    let mut subjects = Vec::new();
    let function = |name: &str, source, outcomes: &[Outcome]| Subject {
        name: name.to_owned(),
        kind: Kind::Function,
        program: Program { file: binaries.join(name), arguments: Vec::new() },
        artifact: binaries.join(name),
        source,
        outcomes: outcomes.to_owned(),
        function: name.to_owned(),
        looks_up: name.starts_with("wallet-"),
    };
    for name in providers::FUNCTIONS {
        let (_, fresh, refused, unrecognized) = SAMPLES.into_iter().find(|listed| listed.0 == name).unwrap_or_default();
        let find = |file: &str, is_like: &dyn Fn(&Expect) -> bool| {
            let mut of_function = samples.iter().filter(|sample| sample.function == name);
            let full = format!("{name}/{file}");
            let is_it =
                |sample: &&Sample| if file.is_empty() { is_like(&sample.expect) } else { sample.name() == full };
            of_function.find(is_it).cloned().with_context(|| format!("there is no sample {full}"))
        };
        let is_approved =
            |expect: &Expect| expect.event.as_ref().is_some_and(|event| event.outcome == model::Outcome::Approved);
        let is_unrecognized = |expect: &Expect| expect.event.as_ref().is_some_and(|event| event.unrecognized.is_some());
        let by_outcome = BTreeMap::from([
            (Fresh, find(fresh, &is_approved)?),
            (Refused, find(refused, &|expect| [401, 403].contains(&expect.status))?),
            (Unrecognized, find(unrecognized, &is_unrecognized)?),
        ]);
        subjects.push(function(name, Source::Samples(by_outcome), &[Fresh, Repeat, Refused, Unrecognized]));
    }
    subjects.push(function("publisher", Source::Stream, &[Fresh, Alone]));
    subjects.push(function("spill-drain", Source::Spilled, &[Fresh, Repeat]));
    subjects.push(function("expectations", Source::Announcements, &[Fresh, Refused]));
    subjects.push(function("verifications", Source::Questions, &[Fresh]));
    subjects.push(function("reconciler", Source::Schedule, &[Fresh]));

    let of_function = |subjects: &[Subject], name: &str| {
        subjects.iter().find(|subject| subject.name == name).cloned().with_context(|| format!("there is no {name}"))
    };
    let (verifyvasp, wallet) = (of_function(&subjects, "verifyvasp")?, of_function(&subjects, "wallet-verification")?);
    for (name, binary, like, outcomes) in [
        ("hello", "floor-hello", &verifyvasp, &[Fresh][..]),
        ("put-item", "floor-put-item", &verifyvasp, &[Fresh, Repeat]),
        ("get-put-item", "floor-put-item", &wallet, &[Fresh, Repeat]),
    ] {
        let file = binaries.join(binary);
        let program = Program { file: file.clone(), arguments: Vec::new() };
        let outcomes = outcomes.to_owned();
        let (name, kind) = (name.to_owned(), Kind::Floor);
        subjects.push(Subject { name, kind, program, artifact: file, outcomes, ..like.clone() });
    }
    for (language, name) in PEERS {
        let like = if name == "verifyvasp" { &verifyvasp } else { &wallet };
        subjects.push(Subject {
            name: format!("{language}-{name}"),
            kind: Kind::Peer,
            program: Program {
                file: root.join("bench/peers/run"),
                arguments: vec![language.to_owned(), name.to_owned()],
            },
            artifact: root.join("target/peers").join(language).join("package").join(name),
            outcomes: vec![Fresh, Repeat, Refused],
            ..like.clone()
        });
    }
    Ok(subjects)
}

impl Subject {
    /// The environment it runs in, as template.yaml and Lambda set it, with this address for AWS.
    pub(crate) fn environment(&self, stub: &Stub, url: &str) -> BTreeMap<String, String> {
        let queue = |name: &str| format!("{url}/000000000000/{name}");
        let issuers =
            json!([{ "issuer": ISSUER, "jwks_url": format!("{}/jwks.json", stub.tls_url), "algorithms": ["ES256"] }]);
        let [roots, own_root] = [&stub.roots.all, &stub.roots.own].map(|file| file.to_string_lossy().into_owned());
        let mut environment: BTreeMap<String, String> = [
            ("AWS_ENDPOINT_URL", url.to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", url.to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            // As long as Lambda's are: it is in each call, and signed.
            ("AWS_SESSION_TOKEN", "EXAMPLETOKEN".repeat(75)),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_DEFAULT_REGION", "eu-central-1".to_owned()),
            ("AWS_LAMBDA_FUNCTION_NAME", self.function.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", self.function.clone()),
            ("AWS_LAMBDA_LOG_STREAM_NAME", self.function.clone()),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("LANG", "en_US.UTF-8".to_owned()),
            ("TZ", ":UTC".to_owned()),
            ("EVENTS_TABLE", TABLES.events.to_owned()),
            ("VERIFICATIONS_TABLE", TABLES.verifications.to_owned()),
            ("IDEMPOTENCY_TABLE", TABLES.idempotency.to_owned()),
            ("VERIFICATION_QUEUE_URL", queue("verification-events.fifo")),
            ("DELIVERY_QUEUE_URL", queue("delivery-requests")),
            ("SPILL_QUEUE_URL", queue("spill")),
            ("UNPUBLISHED_QUEUE_URL", queue("unpublished")),
            ("PROVIDERS", providers::names().join(",")),
            ("SECRET", secret_arn(&self.function)),
            ("ISSUERS", issuers.to_string()),
            ("METRICS_NAMESPACE", "verification-callbacks".to_owned()),
            ("SSL_CERT_FILE", roots.clone()),
            ("AWS_CA_BUNDLE", roots.clone()),
            ("REQUESTS_CA_BUNDLE", roots),
            // Node.js has the others in itself.
            ("NODE_EXTRA_CA_CERTS", own_root),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if self.looks_up || ["expectations", "publisher", "spill-drain"].contains(&self.function.as_str()) {
            environment.insert("EXPECTATIONS_TABLE".to_owned(), TABLES.expectations.to_owned());
        }
        environment.extend(inherited());
        environment
    }

    /// The same, with new events only.
    pub(crate) fn with_new_events_only(&self) -> Self {
        Self { outcomes: vec![Outcome::Fresh], ..self.clone() }
    }

    /// How many events are in a batch of it, where they come in batches.
    pub(crate) fn batch(&self, outcome: Outcome) -> u32 {
        match self.source {
            Source::Stream if outcome == Outcome::Alone => 1,
            Source::Stream | Source::Spilled => 10,
            Source::Samples(_) | Source::Announcements | Source::Questions | Source::Schedule => 1,
        }
    }
}

/// Where peers find what runs them.
#[expect(clippy::disallowed_methods, reason = "a peer is started as by hand")]
fn inherited() -> impl Iterator<Item = (String, String)> {
    ["PATH", "HOME"].into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_measured() {
        let root = cli::project_root().unwrap();
        let subjects = all(&root, Path::new("binaries")).unwrap();
        for folder in std::fs::read_dir(root.join("functions")).unwrap() {
            let name = folder.unwrap().file_name().into_string().unwrap();
            assert!(subjects.iter().any(|subject| subject.name == name), "{name}");
        }
    }
}
