//! DynamoDB's [condition expressions](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html), as far as
//! functions and peers use them: `=`, `<` between numbers, `attribute_exists`, `attribute_not_exists`, `AND`, `OR` and parentheses.

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};

/// An item, as DynamoDB's JSON has it: attributes by name, each with its type.
pub(crate) type Item = Map<String, Value>;

/// What `#name` and `:value` stand for in an expression.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Placeholders<'a> {
    names: Option<&'a Value>,
    values: Option<&'a Value>,
}

impl<'a> Placeholders<'a> {
    /// Those of a request, or of a part of one.
    pub(crate) fn of(request: &'a Value) -> Self {
        Self { names: request.get("ExpressionAttributeNames"), values: request.get("ExpressionAttributeValues") }
    }

    /// The name of an attribute.
    pub(crate) fn name(&self, token: &'a str) -> anyhow::Result<&'a str> {
        if !token.starts_with('#') {
            return Ok(token);
        }
        let name = self.names.and_then(|names| names.get(token)).and_then(Value::as_str);
        name.with_context(|| format!("{token} is not in ExpressionAttributeNames"))
    }

    /// The value of a placeholder.
    pub(crate) fn value(&self, token: &str) -> anyhow::Result<&'a Value> {
        let value = self.values.and_then(|values| values.get(token));
        value.with_context(|| format!("{token} is not in ExpressionAttributeValues"))
    }
}

/// Whether a condition holds of an item, or of there being none.
///
/// # Errors
/// If it is not understood.
pub(crate) fn holds(expression: &str, placeholders: Placeholders<'_>, item: Option<&Item>) -> anyhow::Result<bool> {
    let tokens = tokens(expression);
    let mut condition = Condition { tokens: &tokens, placeholders, item };
    let holds = condition.alternatives()?;
    ensure!(condition.tokens.is_empty(), "did not expect {:?} in {expression:?}", condition.tokens);
    Ok(holds)
}

fn tokens(expression: &str) -> Vec<&str> {
    let is_symbol = |c: char| "()=<>".contains(c);
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = || rest.find(|c: char| c.is_whitespace() || is_symbol(c)).unwrap_or(rest.len());
        let length = if is_symbol(first) { 1 } else { end() };
        let (token, others) = rest.split_at(length);
        tokens.push(token);
        rest = others.trim_start();
    }
    tokens
}

/// What is left of a condition.
struct Condition<'a> {
    tokens: &'a [&'a str],
    placeholders: Placeholders<'a>,
    item: Option<&'a Item>,
}

impl<'a> Condition<'a> {
    fn next(&mut self) -> anyhow::Result<&'a str> {
        let (token, rest) = self.tokens.split_first().context("the condition ends too soon")?;
        self.tokens = rest;
        Ok(token)
    }

    fn take(&mut self, expected: &str) -> bool {
        match self.tokens.split_first() {
            Some((token, rest)) if token.eq_ignore_ascii_case(expected) => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    fn alternatives(&mut self) -> anyhow::Result<bool> {
        let mut holds = self.conjunction()?;
        while self.take("OR") {
            // Read to its end in any case.
            let other = self.conjunction()?;
            holds = holds || other;
        }
        Ok(holds)
    }

    fn conjunction(&mut self) -> anyhow::Result<bool> {
        let mut holds = self.single()?;
        while self.take("AND") {
            let other = self.single()?;
            holds = holds && other;
        }
        Ok(holds)
    }

    fn single(&mut self) -> anyhow::Result<bool> {
        if self.take("(") {
            let holds = self.alternatives()?;
            ensure!(self.take(")"), "a parenthesis is not closed");
            return Ok(holds);
        }
        match self.next()? {
            "attribute_exists" => Ok(self.argument()?.is_some()),
            "attribute_not_exists" => Ok(self.argument()?.is_none()),
            token => self.comparison(token),
        }
    }

    fn argument(&mut self) -> anyhow::Result<Option<&'a Value>> {
        ensure!(self.take("("), "a function has an argument");
        let token = self.next()?;
        ensure!(self.take(")"), "a function has one argument");
        self.attribute(token)
    }

    fn attribute(&self, token: &'a str) -> anyhow::Result<Option<&'a Value>> {
        let name = self.placeholders.name(token)?;
        Ok(self.item.and_then(|item| item.get(name)))
    }

    fn operand(&self, token: &'a str) -> anyhow::Result<Option<&'a Value>> {
        if token.starts_with(':') { self.placeholders.value(token).map(Some) } else { self.attribute(token) }
    }

    fn comparison(&mut self, token: &'a str) -> anyhow::Result<bool> {
        let left = self.operand(token)?;
        let operator = self.next()?;
        let token = self.next()?;
        let right = self.operand(token)?;
        // An attribute that does not exist is neither equal to a value nor less.
        let both = left.zip(right);
        match operator {
            "=" => Ok(both.is_some_and(|(left, right)| left == right)),
            "<" => Ok(both.and_then(|(left, right)| Some(number(left)? < number(right)?)).unwrap_or(false)),
            other => bail!("{other:?} is no operator that is known here"),
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    value.get("N")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(expression: &str, item: Value, expected: bool) {
        let request = json!({
            "ExpressionAttributeNames": { "#id": "id", "#expiry": "expiration", "#status": "status" },
            "ExpressionAttributeValues": { ":now": { "N": "100" }, ":inprogress": { "S": "INPROGRESS" } },
        });
        let item = item.as_object();
        assert_eq!(holds(expression, Placeholders::of(&request), item).unwrap(), expected, "{expression}");
    }

    #[test]
    fn what_is_not_there_does_not_exist() {
        check("attribute_not_exists(pk)", Value::Null, true);
        check("attribute_not_exists(pk)", json!({ "pk": { "S": "a" } }), false);
        check("attribute_exists(pk) OR attribute_not_exists(pk)", Value::Null, true);
    }

    #[test]
    fn idempotency_is_taken_over_when_it_has_expired() {
        let condition = "attribute_not_exists(#id) OR #expiry < :now OR \
                         (#status = :inprogress AND attribute_exists(#expiry) AND #expiry < :now)";
        let item = |expiry: &str, status: &str| json!({ "id": { "S": "x" }, "expiration": { "N": expiry }, "status": { "S": status } });
        check(condition, Value::Null, true);
        check(condition, item("99", "COMPLETED"), true);
        // Numbers are compared as numbers.
        check(condition, item("1000", "COMPLETED"), false);
        check(condition, item("1000", "INPROGRESS"), false);
    }

    #[test]
    fn and_binds_closer_than_or() {
        check("attribute_not_exists(pk) OR attribute_exists(pk) AND attribute_exists(pk)", Value::Null, true);
        check("(attribute_not_exists(pk) OR attribute_exists(pk)) AND attribute_exists(pk)", Value::Null, false);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for expression in
            ["attribute_exists(", "contains(pk, :now)", "pk = :unknown", "#unknown = :now", "pk = :now pk"]
        {
            assert!(
                holds(
                    expression,
                    Placeholders::of(&json!({ "ExpressionAttributeValues": { ":now": { "N": "1" } } })),
                    None
                )
                .is_err(),
                "{expression}"
            );
        }
    }
}
