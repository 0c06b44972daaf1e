//! What AWS's policies allow, within one account and without an organization, in the order of AWS's own
//! [evaluation logic](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html):
//! an explicit denial wins; then identity-based policies and those of the resource allow, and a boundary limits both.
//! What this module does not know of the language of policies, it refuses to read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A call to AWS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Who calls.
    pub caller: Caller,
    /// Such as `sqs:SendMessage`.
    pub action: String,
    /// The ARN of what it is about, or `*` if the action knows none.
    pub resource: String,
    /// What else AWS knows of the call, by its condition keys.
    pub context: BTreeMap<String, String>,
}

/// Who calls AWS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// A session of the role with this name, in the account with this number.
    Role(String, String),
    /// AWS itself, such as `logs.eu-central-1.amazonaws.com`.
    Service(String),
}

/// A policy, and what a refusal calls it.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What it is called.
    pub name: String,
    /// The document.
    pub document: Value,
}

/// The policies that a call is judged by.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    /// Those of the role that calls.
    pub identity: Vec<Policy>,
    /// The role's boundary.
    pub boundary: Option<Policy>,
    /// Those of the resource, a key's among them.
    pub resource: Vec<Policy>,
}

/// One action on one resource, as a statement has them, wildcards and all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The policy.
    pub policy: String,
    /// The action.
    pub action: String,
    /// The resource.
    pub resource: String,
}

/// A call is denied; which policy lacks it or forbids it.
#[derive(Debug, PartialEq, Eq)]
pub struct Denied(pub String);

/// Which grants allow a call.
///
/// # Errors
/// If it is denied.
///
/// # Panics
/// If a policy has something in it that this module does not know.
pub fn evaluate(request: &Request, policies: &Policies) -> Result<BTreeSet<Grant>, Denied> {
    let Policies { identity, boundary, resource } = policies;
    for policy in identity.iter().chain(boundary).chain(resource) {
        if !matching(request, policy, "Deny").is_empty() {
            return Err(Denied(format!("{} forbids it", policy.name)));
        }
    }
    let all = |policies: &[Policy]| -> Vec<(Named, Grant)> {
        policies.iter().flat_map(|policy| matching(request, policy, "Allow")).collect()
    };
    let of_resource = all(resource);
    let named =
        |named: Named| of_resource.iter().filter(move |(other, _)| *other == named).map(|(_, grant)| grant.clone());
    // What is allowed to this very session, nothing limits.
    let mut grants: BTreeSet<Grant> = named(Named::Session).collect();
    if !grants.is_empty() {
        return Ok(grants);
    }
    grants.extend(named(Named::Caller));
    // A key is for those whom its policy names, or for those whom the account's policies name if it says so.
    let is_key = request.action.starts_with("kms:");
    let is_left_to_identity = !is_key || named(Named::Account).next().is_some();
    if is_left_to_identity {
        grants.extend(all(identity).into_iter().map(|(_, grant)| grant));
    }
    if grants.is_empty() {
        return Err(Denied(match (&request.caller, is_left_to_identity) {
            (Caller::Role(role, _), true) => format!("no policy of {role} allows it"),
            _ if resource.is_empty() => "the resource has no policy".to_owned(),
            _ => format!(
                "{} does not allow it",
                resource.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
        }));
    }
    if let Some(boundary) = boundary {
        let within = matching(request, boundary, "Allow");
        if within.is_empty() {
            return Err(Denied(format!("{} does not allow it", boundary.name)));
        }
        grants.extend(within.into_iter().map(|(_, grant)| grant));
    }
    Ok(grants)
}

/// All that a policy allows, call or no call.
#[must_use]
pub fn grants(policy: &Policy) -> Vec<Grant> {
    let allowing = statements(policy).filter(|statement| statement["Effect"] == "Allow");
    allowing.flat_map(|statement| grants_of(policy, statement)).collect()
}

fn statements(policy: &Policy) -> impl Iterator<Item = &Value> {
    let statements = each(&policy.document["Statement"]);
    statements.inspect(|statement| {
        for element in statement.as_object().unwrap().keys() {
            let known = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];
            assert!(known.contains(&element.as_str()), "{}: {element} is not known here", policy.name);
        }
        for operator in statement["Condition"].as_object().into_iter().flat_map(serde_json::Map::keys) {
            assert!(
                OPERATORS.contains(&operator.as_str()),
                "{}: the condition {operator} is not known here",
                policy.name
            );
        }
    })
}

/// The operators of conditions that are known here.
const OPERATORS: [&str; 3] = ["ArnLike", "Bool", "StringEquals"];

fn grants_of(policy: &Policy, statement: &Value) -> Vec<Grant> {
    let pairs = each(&statement["Action"])
        .flat_map(|action| each(&statement["Resource"]).map(move |resource| (action, resource)));
    let grant = |(action, resource): (&Value, &Value)| Grant {
        policy: policy.name.clone(),
        action: action.as_str().unwrap().to_owned(),
        resource: resource.as_str().unwrap().to_owned(),
    };
    pairs.map(grant).collect()
}

/// Whom a policy of a resource means by its principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// The caller's session.
    Session,
    /// The caller's role, the service that calls, or everybody. Of everybody, AWS does not say whether a boundary limits it: here it does.
    Caller,
    /// The account, whose own policies may allow it then.
    Account,
}

/// What of a policy is about a call, with this effect.
fn matching(request: &Request, policy: &Policy, effect: &str) -> Vec<(Named, Grant)> {
    let mut found = Vec::new();
    for statement in statements(policy).filter(|statement| statement["Effect"] == effect) {
        // An identity-based policy names nobody.
        let principal = statement.get("Principal");
        let named = principal.map_or(Some(Named::Caller), |principal| named(principal, &request.caller));
        let (Some(named), true) = (named, holds(&statement["Condition"], request)) else { continue };
        let grants = grants_of(policy, statement).into_iter().filter(|grant| {
            assert!(!grant.resource.contains("${"), "{}: variables are not known here", policy.name);
            let action = glob(&grant.action.to_ascii_lowercase(), &request.action.to_ascii_lowercase());
            action && glob(&grant.resource, &request.resource)
        });
        found.extend(grants.map(|grant| (named, grant)));
    }
    found
}

fn named(principal: &Value, caller: &Caller) -> Option<Named> {
    if principal == "*" || principal["AWS"] == "*" {
        return Some(Named::Caller);
    }
    match caller {
        Caller::Service(service) => each(&principal["Service"]).any(|other| other == service).then_some(Named::Caller),
        Caller::Role(role, account) => each(&principal["AWS"]).find_map(|arn| {
            let arn = arn.as_str().unwrap();
            if arn.starts_with(&format!("arn:aws:sts::{account}:assumed-role/{role}/")) {
                Some(Named::Session)
            } else if arn == format!("arn:aws:iam::{account}:role/{role}") {
                Some(Named::Caller)
            } else {
                (arn == account || arn == format!("arn:aws:iam::{account}:root")).then_some(Named::Account)
            }
        }),
    }
}

/// Whether the conditions of a statement hold: each of its keys has one of the values.
fn holds(conditions: &Value, request: &Request) -> bool {
    let conditions = conditions.as_object().into_iter().flatten();
    let mut keys =
        conditions.flat_map(|(operator, keys)| keys.as_object().unwrap().iter().map(move |key| (operator, key)));
    keys.all(|(operator, (key, values))| {
        let Some((_, known)) = request.context.iter().find(|(known, _)| known.eq_ignore_ascii_case(key)) else {
            return false;
        };
        each(values).any(|value| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match operator.as_str() {
                "ArnLike" => arn_like(&value, known),
                "Bool" => known.eq_ignore_ascii_case(&value),
                _ => *known == value,
            }
        })
    })
}

/// Each of the six parts of an ARN by itself.
fn arn_like(pattern: &str, arn: &str) -> bool {
    let (pattern, arn): (Vec<&str>, Vec<&str>) = (pattern.splitn(6, ':').collect(), arn.splitn(6, ':').collect());
    pattern.len() == 6 && arn.len() == 6 && pattern.iter().zip(arn).all(|(pattern, part)| glob(pattern, part))
}

/// `*` for any characters, `?` for one.
fn glob(pattern: &str, text: &str) -> bool {
    fn matches(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], []) => matches(rest, text),
            ([b'*', rest @ ..], [_, tail @ ..]) => matches(rest, text) || matches(pattern, tail),
            ([b'?', rest @ ..], [_, tail @ ..]) => matches(rest, tail),
            ([one, rest @ ..], [other, tail @ ..]) => one == other && matches(rest, tail),
            _ => false,
        }
    }
    matches(pattern.as_bytes(), text.as_bytes())
}

/// One, or a list of them.
fn each(value: &Value) -> impl Iterator<Item = &Value> {
    let (list, one) = match value {
        Value::Array(list) => (list.as_slice(), None),
        Value::Null => (&[][..], None),
        one => (&[][..], Some(one)),
    };
    list.iter().chain(one)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const QUEUE: &str = "arn:aws:sqs:eu-central-1:000000000000:spill";
    const KEY: &str = "arn:aws:kms:eu-central-1:000000000000:key/example";

    fn policy(name: &str, statement: Value) -> Policy {
        Policy { name: name.to_owned(), document: json!({ "Statement": statement }) }
    }

    fn allow(action: &str, resource: &str) -> Value {
        json!({ "Effect": "Allow", "Action": action, "Resource": resource })
    }

    fn allow_to(principal: &str, action: &str) -> Value {
        json!({ "Effect": "Allow", "Principal": { "AWS": principal }, "Action": action, "Resource": "*" })
    }

    /// Has a role send to a queue, or decrypt with a key, by statements of its own, its boundary and the resource.
    fn check(resource: &str, [identity, boundary, of_resource]: [Value; 3], expected: Result<(), &str>) {
        let action = if resource == KEY { "kms:Decrypt" } else { "sqs:SendMessage" };
        let request = Request {
            caller: Caller::Role("drain".to_owned(), "000000000000".to_owned()),
            action: action.to_owned(),
            resource: resource.to_owned(),
            context: BTreeMap::from([("aws:SecureTransport".to_owned(), "true".to_owned())]),
        };
        let policies = Policies {
            identity: vec![policy("role", identity)],
            boundary: (!boundary.is_null()).then(|| policy("boundary", boundary)),
            resource: vec![policy("resource", of_resource)],
        };
        let found = evaluate(&request, &policies);
        assert_eq!(found.map(|_| ()), expected.map_err(|why| Denied(why.to_owned())), "{policies:?}");
    }

    #[test]
    fn a_boundary_limits_what_a_role_and_a_resource_allow_and_a_denial_wins() {
        let none = || json!([]);
        let send = || allow("sqs:Send*", "arn:aws:sqs:*:000000000000:spill");
        let all = || allow("*", "*");
        check(QUEUE, [send(), Value::Null, none()], Ok(()));
        check(QUEUE, [send(), all(), none()], Ok(()));
        check(QUEUE, [send(), none(), none()], Err("boundary does not allow it"));
        check(QUEUE, [none(), all(), none()], Err("no policy of drain allows it"));
        check(
            QUEUE,
            [allow("sqs:SendMessage", "arn:aws:sqs:*:000000000000:spil?x"), all(), none()],
            Err("no policy of drain allows it"),
        );
        let role = "arn:aws:iam::000000000000:role/drain";
        check(QUEUE, [none(), all(), allow_to(role, "SQS:SendMessage")], Ok(()));
        check(QUEUE, [none(), none(), allow_to(role, "sqs:SendMessage")], Err("boundary does not allow it"));
        let session = "arn:aws:sts::000000000000:assumed-role/drain/instance";
        check(QUEUE, [none(), none(), allow_to(session, "sqs:SendMessage")], Ok(()));
        check(
            QUEUE,
            [none(), all(), allow_to("arn:aws:iam::000000000000:role/other", "sqs:*")],
            Err("no policy of drain allows it"),
        );
        let forbidden = |key: &str, value: &str| {
            let condition = json!({ "Bool": { key: value } });
            json!({ "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*", "Condition": condition })
        };
        check(QUEUE, [all(), all(), forbidden("aws:securetransport", "true")], Err("resource forbids it"));
        check(QUEUE, [all(), all(), forbidden("aws:SecureTransport", "false")], Ok(()));
    }

    #[test]
    fn a_key_is_for_those_whom_its_own_policy_names_or_leaves_to_the_account() {
        let none = || json!([]);
        let all = || allow("*", "*");
        let account = || allow_to("arn:aws:iam::000000000000:root", "kms:D*");
        check(KEY, [all(), Value::Null, none()], Err("resource does not allow it"));
        check(KEY, [all(), Value::Null, account()], Ok(()));
        check(KEY, [none(), Value::Null, account()], Err("no policy of drain allows it"));
        check(KEY, [none(), Value::Null, allow_to("*", "kms:Decrypt")], Ok(()));
        check(KEY, [none(), none(), allow_to("*", "kms:Decrypt")], Err("boundary does not allow it"));
    }

    #[test]
    fn arns_are_compared_part_by_part() {
        for (pattern, expected) in [
            ("arn:aws:logs:eu-central-1:000000000000:log-group:stack-*", true),
            ("arn:aws:logs:eu-central-1:*:log-group:stack-Logs:*", false),
            ("arn:aws:logs:*:log-group:stack-Logs", false),
            ("arn:*:logs:*:*:log-group:*", true),
        ] {
            assert_eq!(
                arn_like(pattern, "arn:aws:logs:eu-central-1:000000000000:log-group:stack-Logs"),
                expected,
                "{pattern}"
            );
        }
    }

    #[test]
    #[should_panic(expected = "the condition StringLike is not known here")]
    fn what_is_not_known_is_not_passed_over() {
        let mut unknown = allow("sqs:*", "*");
        unknown["Condition"] = json!({ "StringLike": { "aws:userid": "*" } });
        check(QUEUE, [unknown, Value::Null, json!([])], Ok(()));
    }
}
