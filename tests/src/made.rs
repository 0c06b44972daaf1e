//! The parts of files that are made from the registrations of the providers, and from what their crates say of themselves.
//! Each part stands between two comments: `made from the registrations: <name>` and `up to here`. Either has a line of its
//! own, or stands at the end of the line before the part and of its last line: template.yaml has few lines to spare.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use cli::local_secret;
use model::{
    Credential, Kind, Outcome, Place, Retrieval, Settings, Unrecognized,
    signature::{Algorithm, Hmac, Part, Place as At},
};
use providers::{REGISTRATIONS, Registration};
use serde_json::json;

use crate::contract::MESSAGE_KINDS;

const BEGIN: &str = "made from the registrations: ";
const END: &str = "up to here";

/// The files that have such parts, and what they should be.
///
/// # Panics
/// If a file cannot be read, lacks a part, or has one that is not made.
#[must_use]
pub fn files() -> BTreeMap<&'static str, String> {
    let root = cli::project_root().unwrap();
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut files = BTreeMap::new();
    for (file, parts) in [
        ("template.yaml", template()),
        ("docs/contract/openapi.yaml", openapi(&root)),
        ("docs/contract/asyncapi.yaml", asyncapi(&root)),
        ("examples/python/consumer.py", vec![("verdicts", verdicts("    ", ","))]),
        ("examples/rust/src/inbox.rs", vec![("verdicts", verdicts("    ", ","))]),
        ("examples/typescript/consumer.ts", vec![("verdicts", verdicts("  ", ","))]),
        ("tests/schemathesis/schemathesis.toml", vec![("credentials", schemathesis_config())]),
        (
            "tests/schemathesis/credentials.py",
            vec![("credentials", schemathesis_bodies()), ("signatures", schemathesis_signatures())],
        ),
        ("README.md", vec![("providers", readme())]),
        ("docs/providers/README.md", vec![("pages", index())]),
    ] {
        files.insert(file, with_parts(file, &read(file), &parts));
    }
    files
}

/// A file with these parts in place of those that it has.
fn with_parts(file: &str, text: &str, parts: &[(&str, String)]) -> String {
    let mut made = String::new();
    let mut left: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        writeln!(made, "{line}").unwrap();
        let Some((_, name)) = line.split_once(BEGIN) else { continue };
        let name = name.trim_end_matches("-->").trim();
        let part = parts.iter().find(|(known, _)| *known == name);
        let (_, part) = part.unwrap_or_else(|| panic!("{file}: nothing is made by the name of {name}"));
        left.retain(|other| *other != name);
        let end = lines.find(|line| line.contains(END)).unwrap_or_else(|| panic!("{file}: {name} has no end"));
        if end.trim_start().starts_with(['#', '/', '<']) {
            writeln!(made, "{part}{end}").unwrap();
        } else {
            writeln!(made, "{} # {END}", part.trim_end()).unwrap();
        }
    }
    assert!(
        left.is_empty(),
        "{file} has no parts {left:?}: each is between a comment with \"{BEGIN}\" and its name, and one with \"{END}\""
    );
    made
}

/// The registrations of the providers that have a secret of their own: those in the loops of the template.
fn with_secrets() -> impl Iterator<Item = &'static Registration> {
    REGISTRATIONS.iter().filter(|registration| registration.has_secret())
}

/// A text as YAML has it on one line.
fn quoted(text: &str) -> String {
    json!(text).to_string()
}

fn template() -> Vec<(&'static str, String)> {
    let by_default: Vec<&str> =
        with_secrets().filter(|one| one.settings.is_default).map(|registration| registration.provider).collect();
    let (all, with_secret) = (providers::names(), providers::with_secrets().replace(',', "|"));
    let due: Vec<String> = all.iter().map(|name| format!("{name}=86400")).collect();
    let mut settings = String::new();
    for registration in with_secrets() {
        let Registration { provider, settings: of_crate, .. } = registration;
        writeln!(
            settings,
            "    {provider}: {{ Description: {}, Path: {}, MemorySize: {}, Timeout: {}, Secret: {} }}",
            quoted(of_crate.description),
            quoted(&registration.path()),
            of_crate.memory_mb,
            of_crate.timeout.as_secs(),
            quoted(of_crate.secret),
        )
        .unwrap();
    }
    let mut parts = retrieval();
    parts.extend([
        ("Providers", format!("    Default: {}\n    AllowedPattern: ^(({with_secret}),?)+$\n", by_default.join(","))),
        ("DueAfter", format!("    Default: {}\n", due.join(","))),
        ("AlarmOnSilenceOf", format!("    AllowedPattern: ^((none|{}),?)+$\n", all.join("|"))),
        ("ProviderSettings", settings),
    ]);
    parts
}

/// What the template has because providers can be asked for verdicts. No loop can make it: parameters have none.
fn retrieval() -> Vec<(&'static str, String)> {
    let [mut parameters, mut conditions, mut variables, mut statements, mut secrets, mut outputs] =
        [const { String::new() }; 6];
    let mut fetched = Vec::new();
    for Registration { provider, settings, .. } in with_secrets() {
        let Some(Retrieval { parameter, example, credentials }) = settings.retrieval else { continue };
        let title = settings.title;
        let id = format!("{}{}", provider[..1].to_uppercase(), &provider[1..]);
        let what = format!("Where {title} is asked for verdicts that do not come, such as {example}. Empty for never.");
        let (pattern, needs) = match credentials {
            Some(_) => (r"^(https://.+|http://(127\.0\.0\.1|localhost)[:/].+)?$", ""),
            None => ("^(https?://.+)?$", " It needs ReconcilerSubnets."),
        };
        let (pattern, what) = (quoted(pattern), quoted(&format!("{what}{needs}")));
        parameters += &format!(
            "  {parameter}: {{ Type: String, Default: \"\", AllowedPattern: {pattern}, Description: {what} }}\n"
        );
        conditions += &format!("  Fetches{id}: !Not [!Equals [!Ref {parameter}, \"\"]]\n");
        fetched.push(format!("!If [Fetches{id}, {provider}, \"\"]"));
        let upper = provider.to_uppercase();
        variables += &format!("          {upper}_URL: !Ref {parameter}\n");
        let Some(credentials) = credentials else { continue };
        let secret = format!("{id}RetrievalSecret");
        let if_fetched = |value: &str| format!("!If [Fetches{id}, {value}, !Ref AWS::NoValue]");
        variables += &format!("          {upper}_SECRET: {}\n", if_fetched(&format!("!GetAtt {secret}.Id")));
        let statement =
            format!("{{ Effect: Allow, Action: secretsmanager:GetSecretValue, Resource: !GetAtt {secret}.Id }}");
        statements += &format!("            - {}\n", if_fetched(&statement));
        let what = quoted(&format!("{credentials} with which {title} is asked for verdicts"));
        let properties = format!("{{ KmsKeyId: !GetAtt Key.Arn, Description: {what} }}");
        secrets += &format!(
            "  {secret}: {{ Type: AWS::SecretsManager::Secret, Condition: Fetches{id}, Properties: {properties} }}\n"
        );
        outputs += &format!(
            "  {provider}RetrievalSecret: {{ Condition: Fetches{id}, Description: The credentials for asking {title}, Value: !GetAtt {secret}.Id }}\n"
        );
    }
    vec![
        ("retrieval parameters", parameters),
        ("retrieval conditions", conditions),
        ("fetched", format!("          FETCHED: !Join [\",\", [{}]]\n", fetched.join(", "))),
        ("retrieval variables", variables),
        ("retrieval statements", statements),
        ("retrieval secrets", secrets),
        ("retrieval outputs", outputs),
    ]
}

/// What a provider's crate says in words for the contract: the sections of `functions/<name>/contract.yaml`.
struct Words(BTreeMap<String, Vec<String>>);

impl Words {
    fn of(root: &Path, function: &str) -> Self {
        let file = format!("functions/{function}/contract.yaml");
        let text = std::fs::read_to_string(root.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut current = None;
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            match line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
                Some(name) => {
                    sections.insert(name.to_owned(), Vec::new());
                    current = Some(name.to_owned());
                }
                None => {
                    let section = current.as_ref().unwrap_or_else(|| panic!("{file} begins with {line:?}"));
                    sections.get_mut(section).unwrap().push(line.to_owned());
                }
            }
        }
        let known = ["messages", "operation", "schemas", "securitySchemes"];
        let unknown: Vec<&String> = sections.keys().filter(|name| !known.contains(&name.as_str())).collect();
        assert!(unknown.is_empty(), "{file} has sections that are not known: {unknown:?}");
        Self(sections)
    }

    /// The lines of a section, as far to the right as this.
    fn section(&self, name: &str, indent: usize) -> String {
        let lines = self.0.get(name).into_iter().flatten();
        lines.fold(String::new(), |text, line| format!("{text}{:indent$}{line}\n", "", indent = indent - 2))
    }

    /// The lines about one kind of message, as far to the right as this.
    fn message(&self, kind: &str, indent: usize) -> Option<String> {
        let mut lines = self.0.get("messages")?.iter();
        lines.find(|line| **line == format!("  {kind}:"))?;
        let lines = lines.take_while(|line| line.starts_with("   "));
        Some(lines.fold(String::new(), |text, line| format!("{text}{:indent$}{line}\n", "", indent = indent - 4)))
    }
}

fn openapi(root: &Path) -> Vec<(&'static str, String)> {
    let words: Vec<(&Registration, Words)> =
        REGISTRATIONS.iter().map(|registration| (registration, Words::of(root, registration.function))).collect();
    let each = |make: &dyn Fn(&Registration, &Words) -> String, between: &str| {
        let parts: Vec<String> = words.iter().map(|(registration, words)| make(registration, words)).collect();
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(between)
    };
    vec![
        ("callbacks", each(&callback, "\n")),
        ("expectations", each(&|registration, _| expectation(registration), "\n")),
        ("securitySchemes", each(&|_, words| words.section("securitySchemes", 4), "")),
        ("schemas", each(&|_, words| words.section("schemas", 4), "\n")),
    ]
}

/// The operation that a provider calls.
fn callback(registration: &Registration, words: &Words) -> String {
    let mut text = format!("  {}:\n    post:\n      operationId: {}\n", registration.path(), registration.function);
    text += &words.section("operation", 6);
    let is_in_path = registration.settings.credential == Credential::Presented(Place::Path);
    if is_in_path {
        text += "      parameters:\n        - name: secret\n          in: path\n          required: true\n";
        text += "          description: What only the company and the provider know.\n";
        text += "          schema: { type: string, minLength: 1 }\n";
    }
    text += "      responses:\n        '200':";
    text += &match registration.acknowledgement {
        "{}" => " { $ref: '#/components/responses/Acknowledged' }\n".to_owned(),
        body => format!(
            "\n          description: It is kept.\n          content: {{ application/json: {{ schema: {{ const: {body} }} }} }}\n"
        ),
    };
    for (status, response) in [
        ("400", "NotBase64"),
        if is_in_path { ("403", "NotFromThere") } else { ("401", "NotAuthentic") },
        ("413", "TooLarge"),
        ("429", "Throttled"),
        ("500", "Failed"),
        ("503", "Unavailable"),
    ] {
        writeln!(text, "        '{status}': {{ $ref: '#/components/responses/{response}' }}").unwrap();
    }
    text
}

/// The operation that announces a verdict by its subject. Nothing if the provider's are not announced so.
fn expectation(registration: &Registration) -> String {
    let Registration { provider, settings, .. } = registration;
    if settings.tracks.is_empty() {
        return String::new();
    }
    let tracks: Vec<&str> = settings.tracks.iter().map(|track| track.name()).collect();
    let mut text = format!(
        "  /expectations/{provider}:
    put:
      operationId: expectations-of-{provider}
      summary: One of the company's services announces that a verdict is due.
      description: >-
        If no final verdict stands then, the provider is asked, where it can be, or the verdict is reported missing
        (`verification.<provider>.overdue`). The same announcement can be made again. The wallet gateway has a form of its own.
      security:
        - iam: []
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [subject, due_at]
              additionalProperties: false
              properties:
                subject: {{ $ref: '#/components/schemas/AnnouncedSubject' }}
                due_at: {{ $ref: '#/components/schemas/DueAt' }}
                track:
                  description: Which verdict. Without it, the first of these.
                  enum: [{}, null]
",
        tracks.join(", "),
    );
    if !settings.references.is_empty() {
        text += "                details:
                  description: References by which the provider can be asked, beside the subject.
                  type: object
                  additionalProperties: false
                  properties:
";
        for reference in settings.references {
            let description = quoted(reference.description);
            let schema = format!("{{ type: string, pattern: '^[A-Za-z0-9_-]{{1,128}}$', description: {description} }}");
            writeln!(text, "                    {}: {schema}", reference.detail).unwrap();
        }
    }
    text += "            examples:
              verdict:
                value: { subject: 00000000-0000-4000-8000-000000000001, due_at: \"2026-01-31T10:00:00Z\" }
      responses:
";
    for (status, response) in [
        ("200", "AnnouncedBefore"),
        ("201", "ExpectedNow"),
        ("400", "NoAnnouncement"),
        ("403", "NotSigned"),
        ("404", "NotDeployed"),
        ("409", "AnnouncedOtherwise"),
        ("413", "AnnouncementTooLarge"),
        ("429", "Throttled"),
        ("500", "Failed"),
        ("503", "NotKept"),
    ] {
        writeln!(text, "        '{status}': {{ $ref: '#/components/responses/{response}' }}").unwrap();
    }
    text
}

fn asyncapi(root: &Path) -> Vec<(&'static str, String)> {
    let of_queue = |is_delivery: bool, line: &dyn Fn(&str) -> String| -> String {
        MESSAGE_KINDS.iter().filter(|(_, kind)| kind.is_delivery == is_delivery).map(|(name, _)| line(name)).collect()
    };
    let listed = |name: &str| format!("      {name}: {{ $ref: '#/components/messages/{name}' }}\n");
    let operation =
        |channel: &'static str| move |name: &str| format!("      - $ref: '#/channels/{channel}/messages/{name}'\n");
    let words: Vec<(&str, Words)> =
        REGISTRATIONS.iter().map(|one| (one.provider, Words::of(root, one.function))).collect();
    let about = |name: &str| {
        let (provider, kind) = name.split_once('.').unwrap();
        if kind == Unrecognized::KIND.name() {
            let what = "A callback that is authentic and was not understood. It is kept as it came, and read again after an upgrade.";
            return format!("      summary: {what}\n");
        }
        if kind == Kind::OVERDUE.name() {
            let what =
                "A verdict did not come in time. Its outcome is none, and where the track stands does not change.";
            return format!("      summary: {what}\n");
        }
        let mut of_provider = words.iter().filter(|(name, _)| *name == provider);
        let found = of_provider.find_map(|(_, words)| words.message(kind, 6));
        found.unwrap_or_else(|| panic!("functions/{provider}/contract.yaml says nothing of the message {kind}"))
    };
    let message = |name: &str| {
        let head = format!("    {name}:\n      name: verification.{name}\n      title: {name}\n");
        let traits = "      traits: [{ $ref: '#/components/messageTraits/cloudEvent' }]\n";
        format!("{head}{}{traits}      payload: {{ $ref: schemas/{name}.json }}\n", about(name))
    };
    vec![
        ("verdicts", of_queue(false, &listed)),
        ("deliveries", of_queue(true, &listed)),
        ("verdict operations", of_queue(false, &operation("verdicts"))),
        ("delivery operations", of_queue(true, &operation("deliveries"))),
        ("messages", MESSAGE_KINDS.keys().map(|name| message(name)).collect()),
    ]
}

/// The kinds that have a verdict, as the elements of a list in a programming language.
fn verdicts(before: &str, after: &str) -> String {
    let kinds =
        MESSAGE_KINDS.iter().filter(|(_, kind)| kind.outcomes.iter().any(|outcome| *outcome != Outcome::None.as_str()));
    kinds.map(|(name, _)| format!("{before}\"verification.{name}\"{after}\n")).collect()
}

/// Where Schemathesis presents secrets outside of bodies.
fn schemathesis_config() -> String {
    let mut text = String::new();
    for Registration { function, settings, .. } in REGISTRATIONS {
        let secret = local_secret(function);
        let credential = match settings.credential {
            // As in the security scheme: Schemathesis leaves the credential out by that name, case included.
            Credential::Presented(Place::Header(name, before)) => {
                let words = name.split('-').map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..]));
                let name = words.collect::<Vec<_>>().join("-");
                format!("headers = {{ {name} = {} }}", quoted(&format!("{before}{secret}")))
            }
            Credential::Presented(Place::Path) => format!("parameters = {{ \"path.secret\" = {} }}", quoted(&secret)),
            // credentials.py puts the signature in its place.
            Credential::Signed(scheme) => format!("headers = {{ {} = \"to be signed\" }}", scheme.header),
            // See credentials.py.
            Credential::Presented(Place::Field(_)) | Credential::Announced(_) => continue,
        };
        writeln!(text, "[[operations]]\ninclude-operation-id = \"{function}\"\n{credential}\n").unwrap();
    }
    text
}

/// What Schemathesis puts into bodies.
fn schemathesis_bodies() -> String {
    let mut text = String::new();
    for Registration { function, settings, .. } in REGISTRATIONS {
        if let Credential::Presented(Place::Field(name)) = settings.credential {
            writeln!(text, "    \"{function}\": {{\"{name}\": \"{}\"}},", local_secret(function)).unwrap();
        }
    }
    text
}

/// How Schemathesis signs bodies: by the header, the secret, what is signed before the body, and the other headers.
fn schemathesis_signatures() -> String {
    let mut text = String::new();
    for Registration { function, settings, .. } in REGISTRATIONS {
        let Credential::Signed(scheme) = settings.credential else { continue };
        let form = match scheme.before_body {
            [] => "alone",
            [Part::Timestamp { at: At::Field("t"), .. }, Part::Text(".")] => "with_time",
            other => panic!("credentials.py cannot sign {other:?} for {function} yet"),
        };
        let named = match scheme.algorithm {
            Algorithm::Fixed(Hmac::Sha256) => String::new(),
            Algorithm::Named { header, allowed: [(name, Hmac::Sha256), ..] } => format!("\"{header}\": \"{name}\""),
            other => panic!("credentials.py cannot sign for {function} with {other:?} yet"),
        };
        let (header, secret) = (scheme.header, local_secret(function));
        writeln!(text, "    \"{header}\": (\"{secret}\", {form}, {{{named}}}),").unwrap();
    }
    text
}

/// The table of functions in README.md.
fn readme() -> String {
    let mut text = "\n| provider | route | authenticated by |\n|---|---|---|\n".to_owned();
    for registration in &REGISTRATIONS {
        let Settings { title, authenticated_by, .. } = registration.settings;
        writeln!(text, "| {title} | `{}` | {authenticated_by} |", registration.route()).unwrap();
    }
    text + "\n"
}

/// The table of pages in docs/providers/README.md.
fn index() -> String {
    let mut text = "\n| page | function | authenticated by | secret |\n|---|---|---|---|\n".to_owned();
    for registration in &REGISTRATIONS {
        let Registration { function, settings, .. } = registration;
        let secret = if registration.has_secret() { format!("output `{function}Secret`") } else { "none".to_owned() };
        let (title, page, by) = (settings.title, page(registration), settings.authenticated_by);
        writeln!(text, "| [{title}]({page}) | `{function}` | {by} | {secret} |").unwrap();
    }
    text + "\n"
}

/// The name of the page of a function's provider in docs/providers/.
#[must_use]
pub fn page(registration: &Registration) -> String {
    if registration.has_secret() { format!("{}.md", registration.provider) } else { "wallet-gateway.md".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_comments_is_replaced() {
        let text = "a\n  # made from the registrations: x\n  old\n  # up to here\nb\n<!-- made from the registrations: y -->\n<!-- up to here -->\n";
        let made = with_parts("file", text, &[("x", "  new\n".to_owned()), ("y", "row\n".to_owned())]);
        assert_eq!(
            made,
            "a\n  # made from the registrations: x\n  new\n  # up to here\nb\n<!-- made from the registrations: y -->\nrow\n<!-- up to here -->\n"
        );
        assert_eq!(with_parts("file", &made, &[("x", "  new\n".to_owned()), ("y", "row\n".to_owned())]), made);
    }

    #[test]
    fn the_comments_may_stand_at_the_ends_of_lines() {
        let text = "a: # made from the registrations: x\n  old\n  old # up to here\nb\n";
        let made = with_parts("file", text, &[("x", "  new\n".to_owned())]);
        assert_eq!(made, "a: # made from the registrations: x\n  new # up to here\nb\n");
        assert_eq!(with_parts("file", &made, &[("x", "  new\n".to_owned())]), made);
    }

    #[test]
    #[should_panic(expected = "file has no parts [\"y\"]")]
    fn a_part_that_has_no_place_is_named() {
        let _ = with_parts(
            "file",
            "# made from the registrations: x\n# up to here\n",
            &[("x", String::new()), ("y", String::new())],
        );
    }

    #[test]
    #[should_panic(expected = "file: nothing is made by the name of z")]
    fn a_place_that_has_no_part_is_named() {
        let _ = with_parts("file", "# made from the registrations: z\n# up to here\n", &[]);
    }
}
